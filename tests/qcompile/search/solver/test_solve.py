"""The solver against brute force."""

import ctypes
import random
from fractions import Fraction

import pytest
from brute_force import assignments, keeps, uses
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_problems import budgets, problems
from scipy.optimize import milp

from qcompile.search import Infeasible, Undecided, solve
from qcompile.search.solver import highs

ROUNDING = 1e-9  # documented: assignments that differ by less in what is minimised are equals
FEW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def outcome(problem, budget, **options):
    try:
        return solve(problem, budget, **options)
    except Infeasible as error:
        return error


def chosen(found):
    return tuple(found.chosen.values())


@FEW
@given(st.data(), st.booleans())
def test_equals_brute_force(data, ties):
    problem = data.draw(problems(ties))
    budget = data.draw(budgets(problem))
    totals = dict(assignments(problem))
    kept = [t for t in totals.values() if keeps(t, budget)]
    found = outcome(problem, budget)
    if not kept:
        assert isinstance(found, Infeasible)
        return
    least = min(t["sensitivity"] for t in kept)
    mine = totals[chosen(found)]

    assert found.optimal and keeps(mine, budget)
    assert found.sensitivity == pytest.approx(float(least), rel=ROUNDING, abs=0)
    assert found.bound <= found.sensitivity + abs(found.sensitivity) * ROUNDING
    # Eighths: the totals that are reported are the exact ones.
    assert {"sensitivity": found.sensitivity, **found.costs} == {
        n: float(t) for n, t in mine.items()
    }
    picked = [
        layer["choices"][k] for layer, k in zip(problem["layers"], chosen(found), strict=True)
    ]
    assert list(found.bits.values()) == [(choice["w"], choice["a"]) for choice in picked]
    if budget:
        equals = [uses(t, budget) for t in kept if t["sensitivity"] == mine["sensitivity"]]
        # The shares' sum is minimised to 1e-9 of its range.
        assert float(uses(mine, budget)) == pytest.approx(float(min(equals)), abs=1e-7)


@FEW
@given(st.data())
def test_names_the_binding_budget_and_the_nearest_point(data):
    problem = data.draw(problems())
    budget = {
        name: limit * data.draw(st.sampled_from([0.1, 0.5, 1]))
        for name, limit in data.draw(budgets(problem)).items()
    }
    totals = [t for _, t in assignments(problem)]
    found = outcome(problem, budget)
    if not isinstance(found, Infeasible):
        return
    needs = {
        name: min(t[name] for t in totals if keeps(t, others))
        for name in budget
        for others in [{other: budget[other] for other in budget if other != name}]
        if any(keeps(t, others) for t in totals)
    }
    nearest = {"sensitivity": found.nearest.sensitivity, **found.nearest.costs}

    assert found.binding in budget and repr(found.binding) in str(found)
    assert found.needs == {name: float(need) for name, need in needs.items()}
    if needs:
        factors = {name: need / Fraction(budget[name]) for name, need in needs.items()}
        assert factors[found.binding] == min(factors.values())
        assert nearest[found.binding] == needs[found.binding]
        raised = {**budget, found.binding: needs[found.binding]}
    else:
        factor = min(max(t[n] / Fraction(limit) for n, limit in budget.items()) for t in totals)
        # The smallest factor is found to 1e-9 of itself.
        assert nearest[found.binding] / budget[found.binding] == pytest.approx(float(factor))
        raised = {name: Fraction(limit) * factor for name, limit in budget.items()}
    assert keeps(nearest, raised)
    assert found.nearest.sensitivity == min(t["sensitivity"] for t in totals if keeps(t, raised))


@FEW
@given(st.data(), st.booleans())
def test_the_same_call_gives_the_same_answer(data, ties):
    problem = data.draw(problems(ties))
    budget = data.draw(budgets(problem))
    one, other = outcome(problem, budget), outcome(problem, budget)
    if isinstance(one, Infeasible):
        assert (str(one), one.nearest) == (str(other), other.nearest)
    else:
        assert one == other


@FEW
@given(st.data())
def test_minimises_a_cost_under_a_sensitivity(data):
    problem = data.draw(problems())
    totals = [t for _, t in assignments(problem)]
    middle = sorted(t["sensitivity"] for t in totals)[len(totals) // 2]
    if middle <= 0:
        return
    found = solve(problem, {"sensitivity": float(middle)}, minimise="latency")
    best = min(t["latency"] for t in totals if t["sensitivity"] <= middle)
    assert found.costs["latency"] == best and found.sensitivity <= middle


def binary(sensitivities, latencies):
    """Two choices a layer: 8 bits cost (0, latency), 4 bits (sensitivity, 0)."""
    return {
        "layers": [
            {
                "name": f"l{i}",
                "choices": [
                    {"bits": 8, "sensitivity": 0, "latency": latency},
                    {"bits": 4, "sensitivity": sensitivity, "latency": 0},
                ],
            }
            for i, (sensitivity, latency) in enumerate(zip(sensitivities, latencies, strict=True))
        ]
    }


def test_small_sensitivities_count_beside_large_ones():
    # 4 bits are out of the question in layer 0; what remains differs by 1e-14 of it.
    found = solve(binary([1e9, 1e-5, 2e-5, 3e-5], [1, 1, 1, 1]), {"latency": 3})
    assert [w for w, _ in found.bits.values()] == [8, 4, 8, 8]


@pytest.mark.parametrize("unit", [1e-9, 1, 1e12])
def test_units_do_not_matter(unit):
    found = solve(binary([3 * unit, 2 * unit, 4 * unit], [unit] * 3), {"latency": 2 * unit})
    assert [w for w, _ in found.bits.values()] == [8, 4, 8]


def test_holds_a_budget_that_is_exceeded_by_a_millionth():
    found = solve(binary([1, 1, 5], [1, 1, 1]), {"latency": 3 * (1 - 1e-6)})
    assert found.sensitivity == 1


def test_a_budget_that_is_the_sum_itself_is_kept():
    latencies = [0.1, 0.2, 0.3]  # their sum in another order differs in the last bit
    for limit in (0.1 + 0.2 + 0.3, 0.3 + 0.2 + 0.1):
        assert solve(binary([1, 1, 1], latencies), {"latency": limit}).sensitivity == 0


def test_of_equals_takes_what_uses_the_budget_least():
    found = solve(binary([1, 1, 1], [5, 3, 4]), {"latency": 9})
    assert (found.sensitivity, found.costs) == (1, {"latency": 7})


def test_takes_the_cheapest_of_equals_without_a_budget():
    found = solve(binary([0, 0, 1], [5, 3, 4]), {})
    assert (found.sensitivity, found.costs) == (0, {"latency": 4})


def test_hand_over_decides():
    problem = binary([1, 1.5, 1], [2, 2, 2])
    budget = {"latency": 5}
    assert [w for w, _ in solve(problem, budget).bits.values()] in ([4, 8, 8], [8, 8, 4])
    switch = [[0, 2], [2, 0]]
    problem["pairs"] = [{"layers": [i, i + 1], "latency": switch} for i in range(2)]
    # One layer at 4 bits costs 4 + 2; two at one end 2 + 2.
    found = solve(problem, budget)
    assert (found.sensitivity, found.costs["latency"]) == (2.5, 4)


def test_time_that_is_up_is_said():
    rng = random.Random(0)
    problem = binary([rng.random() for _ in range(60)], [rng.random() for _ in range(60)])
    try:
        found = solve(problem, {"latency": 10}, time_limit_s=0)
    except Undecided as error:
        assert "more time" in str(error)
    else:
        best = solve(problem, {"latency": 10})
        assert found.bound <= best.sensitivity <= found.sensitivity
        assert found.optimal == (found.sensitivity == best.sensitivity == found.bound)


def test_prints_nothing_where_the_solver_does(capfd, monkeypatch):
    # HiGHS 1.12 prints lines of its debugging, by C's buffered output.
    libc = ctypes.CDLL(None)

    def chatty(*arguments, **options):
        libc.puts(b"tmpSolver.run();")
        return milp(*arguments, **options)

    monkeypatch.setattr(highs, "milp", chatty)
    solve(binary([1], [1]), {"latency": 1})
    libc.puts(b"after")
    libc.fflush(None)
    out, err = capfd.readouterr()
    assert out == "after\n" and "tmpSolver" in err


def test_choices_alike_beside_a_neighbour_are_told_apart_elsewhere():
    problem = binary([1, 1, 4], [3, 2, 2])
    problem["pairs"] = [{"layers": ["l0", "l1"], "latency": [[1, 1], [1, 1]]}]
    found = solve(problem, {"latency": 5})
    assert ([w for w, _ in found.bits.values()], found.costs["latency"]) == ([4, 8, 8], 5)
