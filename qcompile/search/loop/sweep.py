"""From costs and sensitivities to assignments: the exact choice for one budget after the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qcompile.quantizer import Widths
from qcompile.search.latency import Choice
from qcompile.search.loop.material import Assignment, Material
from qcompile.search.solver.problem import SENSITIVITY, Problem
from qcompile.search.solver.reading import read_problem
from qcompile.search.solver.solve import solve

LATENCY, SIZE, BOPS = "latency", "size", "bops"
STEPS = 8  # budgets between the fastest assignment and the most accurate one
NANOSECOND = 1e9  # the solver's totals are near 1 in these units
Sensitivity = Mapping[str, Mapping[Widths, float]]


@dataclass(frozen=True)
class Costs:
    """Seconds of a network on a device: its base, each layer's choices, and what neighbours add.

    pairs: by two layers' names, by their choices.
    """

    base_s: float
    layers: Mapping[str, Mapping[Choice, float]]
    pairs: Mapping[tuple[str, str], Mapping[tuple[Choice, Choice], float]]


def problem_of(material: Material, sensitivity: Sensitivity, costs: Costs) -> Problem:
    """The solver's problem: sensitivity, latency in ns without the base, bytes, and BOPS."""
    layers = [
        {
            "name": layer.name,
            "choices": [
                {
                    "w": choice.weights,
                    "a": choice.activations,
                    "kernel": choice.kernel,
                    SENSITIVITY: sensitivity[layer.name][choice.widths],
                    LATENCY: NANOSECOND * seconds,
                    SIZE: -(-layer.weights * choice.weights // 8),
                    BOPS: layer.macs * choice.weights * choice.activations,
                }
                for choice, seconds in costs.layers[layer.name].items()
            ],
        }
        for layer in material.layers
    ]
    pairs = [_pair(costs, names, added) for names, added in costs.pairs.items()]
    return read_problem({"layers": layers, "same_a": _alike(material), "pairs": pairs})


def _alike(material: Material) -> list[list[str]]:
    """Groups of layers that read one value; one whose width is fixed leaves the others free."""
    groups = []
    for names in material.sharing():
        free = [name for name in names if len(material.choices[name]) > 1]
        if len(free) > 1:
            groups.append(free)
    return groups


def _pair(
    costs: Costs, names: tuple[str, str], added: Mapping[tuple[Choice, Choice], float]
) -> dict[str, Any]:
    rows, columns = (list(costs.layers[name]) for name in names)
    matrix = [[NANOSECOND * added.get((row, column), 0.0) for column in columns] for row in rows]
    return {"layers": list(names), LATENCY: matrix}


def sweep(
    problem: Problem, base_s: float, limits: Mapping[str, float]
) -> list[tuple[dict[str, Widths], float]]:
    """Assignments from the fastest to the least sensitive, each with its sensitivity, once.

    limits: of `latency` in seconds and of `size` in bytes. Raises Infeasible when none keeps them.
    """
    within = dict(limits)
    if LATENCY in within:
        within[LATENCY] = NANOSECOND * (within[LATENCY] - base_s)
    found = [solve(problem, within)]
    sizes = {name: limit for name, limit in within.items() if name != LATENCY}
    fastest = solve(problem, sizes, minimise=LATENCY)
    low, high = fastest.costs[LATENCY], found[0].costs[LATENCY]
    for k in range(STEPS):
        budget = low + (high - low) * k / STEPS
        if budget > 0:
            found.append(solve(problem, {**sizes, LATENCY: budget}))
    return _distinct([({n: Widths(*b) for n, b in s.bits.items()}, s.sensitivity) for s in found])


def _distinct(
    found: Sequence[tuple[dict[str, Widths], float]],
) -> list[tuple[dict[str, Widths], float]]:
    kept: list[tuple[dict[str, Widths], float]] = []
    for bits, sensitivity in found:
        if all(bits != other for other, _ in kept):
            kept.append((bits, sensitivity))
    return kept


def total(sensitivity: Sensitivity, bits: Assignment) -> float:
    """The summed sensitivity of an assignment."""
    return sum(sensitivity[name][widths] for name, widths in bits.items())
