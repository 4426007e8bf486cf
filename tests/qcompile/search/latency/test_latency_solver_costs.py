from itertools import product

import pytest

from qcompile.search import read_problem, solve
from qcompile.search.latency import solver_costs, speeds
from tests.qcompile.search.latency.synthetic import CHOICES, NAMES, Device


def problem(costs):
    layers = costs.layers()
    for layer in layers:
        for choice in layer["choices"]:
            choice["sensitivity"] = 16.0 - choice["w"] - choice["a"]
    return {"layers": layers, "pairs": costs.pairs}


@pytest.mark.parametrize("seed", range(3))
def test_the_solver_counts_what_the_model_says(seed):
    device = Device(seed)
    model = device.survey()
    costs = solver_costs(model)
    assert all(s >= 0 for each in costs.latency.values() for s in each.values())
    read = read_problem(problem(costs))
    for _ in range(10):
        assignment = device.random()
        chosen = [model.choices[name].index(assignment[name]) for name in NAMES]
        terms = sum(model.fitted.by_terms(name, assignment) for name in NAMES)
        assert read.totals(chosen)["latency"] == pytest.approx(terms, rel=1e-9)


def test_the_solver_finds_the_best_within_a_budget():
    model = Device(5).survey()
    costs = solver_costs(model)
    read = read_problem(problem(costs))
    every = [read.totals(chosen) for chosen in product(range(len(CHOICES)), repeat=len(NAMES))]
    limit = 0.7 * read.totals([0] * len(NAMES))["latency"]
    best = min(each["sensitivity"] for each in every if each["latency"] <= limit)
    assert solve(problem(costs), {"latency": limit}).sensitivity == pytest.approx(best)


def test_speeds_tell_where_fewer_bits_bring_none():
    device = Device(0)
    wide, narrow = CHOICES[0], CHOICES[1:]
    for choice in narrow:
        device.own["one", choice] = 1.2 * device.own["one", wide]
        device.own["two", choice] = 0.5 * device.own["two", wide]
    for table in (device.written, device.repacked):
        table |= dict.fromkeys(table, 0.0)
    one, two, *_ = speeds(device.survey())
    assert not one.faster and one.gain == pytest.approx(-0.2, abs=0.01)
    assert two.faster and two.gain == pytest.approx(0.5, abs=0.01)
    assert one.widest == wide and two.narrower in narrow
