"""The best designs with the best widths, against all of them tried."""

import numpy as np
import pytest
from exhaustive import every_point, unbeaten
from hypothesis import given, settings
from synthetic import Problem, problems

from qcompile.quantizer import Widths
from qcompile.search.accelerator.front import front
from qcompile.search.accelerator.joint import joint_front
from qcompile.search.accelerator.table import LayerTable, best_assignments, total

LINES = settings(max_examples=80, deadline=None)


def values(joint):
    return {tuple(point) for point in joint.points.tolist()}


@LINES
@given(problem=problems())
def test_equals_all_of_them_tried(problem):
    found = joint_front(problem.areas, lambda k: problem.least[k], problem.ask)

    expected = unbeaten(every_point(list(zip(problem.areas, problem.true, strict=True))))
    assert values(found) == expected and len(found.points) == len(expected)
    assert found.exact and found.tried + found.skipped == len(problem.areas)
    for point, design, picks in zip(found.points, found.design, found.picks, strict=True):
        tables = problem.true[design]
        bits = {one.name: one.choices[k] for one, k in zip(tables, picks, strict=True)}
        assert (*total(tables, bits), problem.areas[design]) == tuple(point)


@LINES
@given(problem=problems())
def test_a_margin_loses_nothing(problem):
    least = lambda k: problem.least[k]  # noqa: E731 (two searches of the same)
    exact = joint_front(problem.areas, least, problem.ask)
    wide = joint_front(problem.areas, least, problem.ask, margin=0.5)
    kept = wide.points[front(wide.points)]
    assert {tuple(point) for point in kept.tolist()} == values(exact) <= values(wide)
    assert wide.tried >= exact.tried


def one_layer(cycles, sensitivity=(0.0, 1.0)):
    widths = (Widths(8, 8), Widths(4, 4))
    return [LayerTable("layer", widths, np.array(cycles)[:, None], np.array(sensitivity))]


def test_skips_what_its_least_costs_rule_out():
    fast, slow = one_layer([10.0, 5.0]), one_layer([12.0, 6.0])
    problem = Problem([0.5, 0.5], [fast, slow], [fast, slow])
    found = joint_front(problem.areas, lambda k: problem.least[k], problem.ask)
    assert (found.tried, found.skipped, problem.asked) == (1, 1, {0})
    assert values(found) == {(0.0, 10.0, 0.5), (1.0, 5.0, 0.5)}


def test_a_network_that_no_design_runs_leaves_nothing():
    never = one_layer([np.inf, np.inf])
    found = joint_front([0.5], lambda k: one_layer([1.0, 1.0]), Problem([0.5], [never], []).ask)
    assert not len(found.points)


@pytest.mark.parametrize("most", [2, 5])
def test_fronts_too_long_keep_both_ends_and_say_so(most):
    rng = np.random.default_rng(0)
    widths = tuple(Widths(w, 8) for w in range(1, 9))
    layers = [
        LayerTable(
            f"layer{k}",
            widths,
            np.sort(rng.integers(1, 900, 8)).astype(float)[:, None],
            np.sort(rng.random(8))[::-1],
        )
        for k in range(3)
    ]
    whole, short = best_assignments(layers), best_assignments(layers, most)
    assert whole.exact and not short.exact and len(short.cycles) <= most
    assert {whole.cycles.min(), whole.cycles.max()} <= set(short.cycles)
