"""Published choices of bit widths, with the exact optima that ship beside them."""

import json
import time

import pytest

from qcompile.search import Infeasible, solve

pytestmark = pytest.mark.shared
SECOND = 1.0
SHARES = [f"{cost}_{share}" for cost in ("size", "bops", "latency") for share in (0.75, 0.5, 0.25)]


@pytest.fixture(scope="module")
def table(shared):
    return shared / "hawqv3_resnet18.json"


@pytest.mark.parametrize("name", SHARES)
def test_reaches_the_stated_optimum(name, table):
    content = json.loads(table.read_text())
    stated = content["optimum"][name]
    begin = time.perf_counter()
    found = solve(table, content["budgets"][name])
    seconds = time.perf_counter() - begin

    # Sums of 19 numbers in another order.
    assert found.sensitivity == pytest.approx(stated["sensitivity"], rel=1e-12)
    assert list(found.bits.values()) == [(bits, bits) for bits in stated["bits"]]
    assert found.optimal and seconds < SECOND


def test_an_impossible_budget_names_the_least_that_is_possible(table):
    content = json.loads(table.read_text())
    cheapest = sum(layer["choices"][0]["latency"] for layer in content["layers"])
    with pytest.raises(Infeasible) as raised:
        solve(table, {"latency": 1, **content["budgets"]["size_0.5"]})
    found = raised.value

    assert found.binding == "latency"
    assert found.needs == {"latency": pytest.approx(cheapest, rel=1e-12)}
    assert set(found.nearest.bits.values()) == {(4, 4)}
