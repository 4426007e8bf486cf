"""A network's costs on designs: the search against every design with every assignment."""

import dataclasses

import pytest
import small
from exhaustive import every_point, unbeaten

from qcompile.search.accelerator.costs import NetworkCosts
from qcompile.search.accelerator.cycles import LayerCycles
from qcompile.search.accelerator.design import area_of
from qcompile.search.accelerator.joint import joint_front
from qcompile.search.accelerator.networks import FloatNetwork
from qcompile.search.accelerator.problems import NetworkWork
from qcompile.search.accelerator.space import Space, buildable
from qcompile.targets.vta.resources import device


@pytest.fixture(scope="module")
def part():
    return device(small.board().part)


@pytest.fixture(scope="module")
def designs(part):
    space = Space.from_json(small.SPACE, small.board())
    return buildable(space, small.board(), part).designs


@pytest.fixture(scope="module")
def costs(tmp_path_factory):
    model, calibration = small.network(tmp_path_factory.mktemp("model"))
    board, choices = small.board(), small.choices()
    work = NetworkWork(FloatNetwork(model, calibration), choices, board.host)
    return NetworkCosts(work, choices, small.sensitivities(choices), board.clock_hz, LayerCycles())


def whole_table(costs, design):
    """Every cost of the planner, one by one."""
    tables = []
    for layer, table in enumerate(costs.least(design)):
        cycles = table.cycles.copy()
        for choice, column in zip(*cycles.nonzero(), strict=True):
            cycles[choice, column] = costs.planned(design, layer, choice, column)
        assert (cycles >= table.cycles).all()
        tables.append(dataclasses.replace(table, cycles=cycles))
    return tables


def test_equals_every_design_with_every_assignment(costs, designs, part):
    areas = [area_of(design, part).share for design in designs]
    tables = [whole_table(costs, design) for design in designs]
    expected = unbeaten(every_point(list(zip(areas, tables, strict=True))))

    asked = []

    def planned(number, *place):
        asked.append((number, *place))
        return costs.planned(designs[number], *place)

    found = joint_front(areas, lambda k: costs.least(designs[k]), planned)
    assert {tuple(point) for point in found.points.tolist()} == expected
    # There is something to choose, and something that need not be known.
    assert len(expected) > 3 and len(set(found.design)) > 1
    assert len(asked) < sum(layer.cycles.size for table in tables for layer in table)
