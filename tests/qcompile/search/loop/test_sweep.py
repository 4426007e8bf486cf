"""Assignments of a sweep against all assignments there are."""

from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest

from qcompile.errors import Infeasible
from qcompile.quantizer import Widths
from qcompile.search.latency import Choice, SolverCosts
from qcompile.search.loop.material import LayerWork
from qcompile.search.loop.request import Request
from qcompile.search.loop.sweep import problem_of, sweep, total

WIDTHS = [Widths(8, 8), Widths(4, 4), Widths(2, 2)]
NAMES = ["first", "second", "third"]


class Layers:
    """What a sweep asks of its material: 1,000 weights and multiply-adds a layer."""

    layers = tuple(LayerWork(name, 1000, 1000, f"before {name}") for name in NAMES)
    choices = dict.fromkeys(NAMES, tuple(WIDTHS))

    def sharing(self):
        return []


def random_problem(seed):
    rng = np.random.default_rng(seed)
    sensitivity = {
        name: dict(zip(WIDTHS, np.sort(rng.uniform(0, 1, 3)).tolist(), strict=True))
        for name in NAMES
    }
    choices = [Choice(w.weights, w.activations, "int8") for w in WIDTHS]
    layers = {
        name: dict(zip(choices, rng.uniform(1e-6, 1e-3, 3).tolist(), strict=True)) for name in NAMES
    }
    pairs = [
        {"layers": list(edge), "latency": rng.uniform(0, 2e-4, (3, 3)).tolist()}
        for edge in pairwise(NAMES)
    ]
    return sensitivity, SolverCosts(layers, pairs, 1e-3)


def every(sensitivity, costs):
    """(seconds, sensitivity) of every assignment."""
    found = []
    for places in product(range(3), repeat=len(NAMES)):
        chosen = dict(zip(NAMES, places, strict=True))
        seconds = costs.base_s + sum(
            list(costs.latency[name].values())[k] for name, k in chosen.items()
        )
        for pair in costs.pairs:
            one, other = pair["layers"]
            seconds += pair["latency"][chosen[one]][chosen[other]]
        bits = {name: WIDTHS[k] for name, k in chosen.items()}
        found.append((seconds, total(sensitivity, bits), bits))
    return found


@pytest.mark.parametrize("seed", range(10))
def test_assignments_are_the_base_sensitive_ones_of_their_time(seed):
    sensitivity, costs = random_problem(seed)
    others = every(sensitivity, costs)
    found = sweep(problem_of(Layers(), sensitivity, costs), costs.base_s, {})
    assert min(score for _, score in found) == pytest.approx(min(s for _, s, _ in others))
    for bits, score in found:
        seconds = next(s for s, _, other in others if other == bits)
        assert not any(s <= seconds * (1 - 1e-6) and r <= score - 1e-9 for s, r, _ in others)
    fastest = min(s for s, _, _ in others)
    assert any(s == pytest.approx(fastest) for s, _, o in others if o in [b for b, _ in found])


@pytest.mark.parametrize("seed", range(5))
def test_budgets_of_time_and_size_hold(seed):
    sensitivity, costs = random_problem(seed)
    others = every(sensitivity, costs)
    budget = float(np.median([seconds for seconds, _, _ in others]))
    limits = {"latency": budget, "size": 1800.0}
    for bits, _ in sweep(problem_of(Layers(), sensitivity, costs), costs.base_s, limits):
        seconds = next(s for s, _, other in others if other == bits)
        assert seconds <= budget * (1 + 1e-6)
        assert sum(1000 * widths.weights // 8 for widths in bits.values()) <= 1800


def test_a_budget_below_the_possible_says_what_would_do():
    sensitivity, costs = random_problem(0)
    fastest = min(seconds for seconds, _, _ in every(sensitivity, costs))
    with pytest.raises(Infeasible, match="ms") as caught:
        sweep(problem_of(Layers(), sensitivity, costs), costs.base_s, {"latency": fastest / 2})
    assert caught.value.needs["latency"] == pytest.approx(fastest, rel=1e-6)
    assert f"{1e3 * fastest:.4g} ms" in str(caught.value)


@pytest.mark.parametrize("seed", range(4))
def test_a_size_below_the_possible_names_the_fastest_of_that_size(seed):
    """Kernels of the same widths weigh the same."""
    sensitivity, costs = random_problem(seed)
    rng = np.random.default_rng(seed)
    both = {name: {} for name in NAMES}
    for name, each in costs.latency.items():
        for choice, seconds in each.items():
            kernels = [(choice, seconds), (replace(choice, kernel="a"), 9 * seconds)]
            both[name] |= dict(kernels[:: rng.choice([1, -1])])
    problem = problem_of(Layers(), sensitivity, SolverCosts(both, [], 0.0))
    with pytest.raises(Infeasible, match="KiB would work") as caught:
        sweep(problem, 0.0, {"size": 10.0})
    twos = 1e9 * sum(list(costs.latency[name].values())[2] for name in NAMES)
    assert caught.value.nearest.costs["latency"] == pytest.approx(twos, rel=1e-6)
    assert "the other budget" not in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "holds"),
    [((None, None, None), 1), ((None, None, 3), 3), ((1.0, None, None), None), ((None, 9, 2), 2)],
)
def test_the_default_drop_holds_where_no_budget_decides(asked, holds):
    budget_s, budget_bytes, drop = asked
    given = [Path("m"), (), Path("d"), None, None, (8,), budget_s, budget_bytes, drop, Path("o"), 0]
    assert Request(*given).drop == holds
