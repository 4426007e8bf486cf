"""Networks that are measured in passing, before a round."""

import pytest

from qcompile.quantizer import Widths
from qcompile.search.loop import rounds
from qcompile.search.loop.rounds import Rounds


class Where:
    name = "device"


class Station:
    """Its predictions are off by `errors`, one network after the other; then all are known."""

    where = Where()

    def __init__(self, errors):
        self.errors = list(errors)

    def look(self, bits):
        return self.errors.pop(0) if self.errors else None


@pytest.fixture
def looks(monkeypatch):
    """The looks before a round, of a solver that proposes so many networks at a time."""

    def run(errors, proposed=2):
        said = []
        found = Rounds(None, Station(errors), {}, None, said.append)
        bits = [({"layer": Widths(k, k)}, 0.0) for k in range(1, 1 + proposed)]
        monkeypatch.setattr(found, "_proposed", lambda: bits)
        return found._look(3), said

    return run


def test_goes_on_until_predictions_hold(looks):
    found, said = looks([0.03, -0.02, -0.012, 0.001, 0.009, -0.004, 0.5])
    assert found == [[0.03, 0.02], [0.012, 0.001], [0.009, 0.004]]
    assert said[0] == (
        "device: before round 3: 2 networks measured in passing, predictions off by up to 3.00 %"
    )


def test_ends_when_nothing_is_unknown(looks):
    assert looks([0.03, -0.02, 0.5])[0] == [[0.03, 0.02], [0.5]]
    assert looks([]) == ([], [])


def test_ends_when_nothing_is_proposed(looks):
    assert looks([0.1], proposed=0) == ([], [])


def test_does_not_go_on_for_ever(looks):
    assert looks([0.5] * 100)[0] == [[0.5, 0.5]] * rounds.MOST_PASSES
