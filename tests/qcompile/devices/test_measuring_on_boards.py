"""Candidates are measured on boards by ssh and by TVM's RPC, two at a time."""

import pytest
from farms import Farm

from qcompile.errors import DeviceError
from qcompile.targets import host_architecture, load_target
from qcompile.tuning.batch import Batch
from qcompile.tuning.measuring import Measurer
from qcompile.tuning.outcomes import Timing
from qcompile.tuning.stations import Rounds
from qcompile.tuning.trial import trial_of

pytestmark = pytest.mark.device

QUICK = Rounds(burst_s=5e-5, least=3, spread=0.05, budget_s=0.05)
GENERIC = {"x86_64": "x86-64-v3", "aarch64": "aarch64", "armv7": "armv7"}


@pytest.fixture
def target():
    return load_target(GENERIC[host_architecture().name])


@pytest.fixture
def batch(target):
    """The small kernel three times; it takes well below a millisecond."""
    kernel = trial_of(target.architecture)[0].reference
    return Batch(kernel, (kernel, kernel))


@pytest.fixture
def farm(tmp_path):
    pytest.importorskip("tornado", reason="TVM's tracker needs tornado")
    found = Farm(tmp_path, servers=2)
    yield found
    found.unplug()


def expect_timings(outcomes):
    assert len(outcomes) == 3
    for one in outcomes:
        assert isinstance(one, Timing), one
        assert 0 < one.seconds_each < 1e-3


def test_measures_by_ssh(board, target, batch):
    with Measurer([board.address] * 2, target, rounds=QUICK) as measurer:
        futures = [measurer.submit(batch) for _ in range(4)]
        for future in futures:
            expect_timings(future.result())


def test_goes_on_when_a_board_disappears(board, target, batch):
    with Measurer([board.address, "local"], target, rounds=QUICK) as measurer:
        board.unplug()
        futures = [measurer.submit(batch) for _ in range(6)]
        for future in futures:
            expect_timings(future.result())
        (told,) = measurer.lost
        assert told.startswith(f"{board.address}: it does not answer any more")


def test_measures_by_a_farm(farm, target, batch):
    with Measurer([f"{farm.address}/board"] * 2, target, rounds=QUICK) as measurer:
        futures = [measurer.submit(batch) for _ in range(4)]
        for future in futures:
            expect_timings(future.result())


def test_says_which_board_is_not_there(farm, target):
    with pytest.raises(DeviceError, match="the tracker knows no board 'other'"):
        Measurer([f"{farm.address}/board", f"{farm.address}/other"], target)
