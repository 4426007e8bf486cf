"""From costs and sensitivities to assignments: the exact choice for one budget after the other."""

from collections.abc import Mapping, Sequence

import numpy as np

from qcompile.errors import Infeasible
from qcompile.quantizer import Widths
from qcompile.search.latency import SolverCosts
from qcompile.search.loop.material import Assignment, Material
from qcompile.search.solver.problem import SENSITIVITY, Problem
from qcompile.search.solver.reading import read_problem
from qcompile.search.solver.solve import solve

LATENCY, SIZE, BOPS = "latency", "size", "bops"
STEPS = 8  # budgets between the fastest assignment and the most accurate one
NANOSECOND = 1e9
LEAST_NS = 1e-6
Sensitivity = Mapping[str, Mapping[Widths, float]]


def problem_of(material: Material, sensitivity: Sensitivity, costs: SolverCosts) -> Problem:
    """The solver's problem: sensitivity, latency in ns beyond the base, bytes, and BOPS."""
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
                for choice, seconds in costs.latency[layer.name].items()
            ],
        }
        for layer in material.layers
    ]
    pairs = [
        pair | {LATENCY: (NANOSECOND * np.array(pair[LATENCY])).tolist()} for pair in costs.pairs
    ]
    return read_problem({"layers": layers, "same_a": _alike(material), "pairs": pairs})


def _alike(material: Material) -> list[list[str]]:
    """Groups of layers that read one value; one whose width is fixed leaves the others free."""
    groups = []
    for names in material.sharing():
        free = [name for name in names if len(material.choices[name]) > 1]
        if len(free) > 1:
            groups.append(free)
    return groups


def sweep(
    problem: Problem, base_s: float, limits: Mapping[str, float]
) -> list[tuple[dict[str, Widths], float]]:
    """Assignments from the fastest to the least sensitive, each with its sensitivity, once.

    limits: of `latency` in seconds and of `size` in bytes. Raises Infeasible when none keeps them.
    """
    within = dict(limits)
    if LATENCY in within:
        # The solver takes budgets above 0; with less than nothing, nothing is possible either.
        within[LATENCY] = max(LEAST_NS, NANOSECOND * (within[LATENCY] - base_s))
    elif within:
        within[LATENCY] = _longest(problem)  # which all keep: of equals the fastest is taken
    try:
        found = [solve(problem, within)]
    except Infeasible as error:
        raise _told(error, limits, base_s) from error
    sizes = {name: limit for name, limit in within.items() if name != LATENCY}
    fastest = solve(problem, sizes, minimise=LATENCY)
    low, high = fastest.costs[LATENCY], found[0].costs[LATENCY]
    for k in range(STEPS):
        budget = low + (high - low) * k / STEPS
        if budget > 0:
            found.append(solve(problem, {**sizes, LATENCY: budget}))
    return _distinct([({n: Widths(*b) for n, b in s.bits.items()}, s.sensitivity) for s in found])


def _longest(problem: Problem) -> float:
    """What no assignment's latency is above."""
    choices = sum(max(c.values[LATENCY] for c in layer.choices) for layer in problem.layers)
    pairs = sum(float(pair.values[LATENCY].max()) for pair in problem.pairs)
    return max(LEAST_NS, choices + pairs)


def _told(error: Infeasible, limits: Mapping[str, float], base_s: float) -> Infeasible:
    """The error in the units of the user's budgets."""
    needs = {name: float(value) for name, value in error.needs.items()}
    if LATENCY in needs:
        needs[LATENCY] = needs[LATENCY] / NANOSECOND + base_s
    asked = " and ".join(_amount(name, value) for name, value in limits.items())
    alone = ", or ".join(_amount(name, value) for name, value in needs.items() if name != BOPS)
    near = error.nearest.costs
    seconds = near[LATENCY] / NANOSECOND + base_s
    nearest = f"{_amount(LATENCY, seconds)}, {_amount(SIZE, near[SIZE])}"
    unchanged = "with the other budget as it is, " if len(limits) > 1 else ""
    possible = f"; {unchanged}{alone} would work" if alone else ""
    return Infeasible(
        f"no widths keep {asked}; the nearest assignment is predicted to take {nearest}{possible}",
        error.binding,
        error.nearest,
        needs,
    )


def _amount(name: str, value: float) -> str:
    return f"{1e3 * value:.4g} ms" if name == LATENCY else f"{value / 1024:.1f} KiB"


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
