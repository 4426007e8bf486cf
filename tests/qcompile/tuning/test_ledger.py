"""What is known of candidates: after a kill, beside other writers, and after failures."""

import resource

import pytest
from tuning_tasks import TARGET, network, tasks_in

from qcompile.errors import OutputError
from qcompile.records import Database
from qcompile.schedules.space import VERSION
from qcompile.tuning.ledger import OF_OTHERS, Known, Ledger
from qcompile.tuning.outcomes import Failure, timing

REFERENCE = timing([2e-3, 2e-3])
WHERE = {"device": "local", "processor": "a processor"}


@pytest.fixture(scope="module")
def tasks():
    return tasks_in(network())


def ledger(tasks, folder, **options):
    return Ledger(tasks, TARGET, Database(folder, VERSION), modelled=False, **options)


def candidates(task):
    """Decisions besides the default, one after the other."""
    tile = task.space.decisions[0]
    return [{**task.default, tile.name: choice} for choice in tile.choices[1:]]


def test_knows_what_was_written_in_another_process_of_before(tasks, tmp_path):
    first, second, third = candidates(tasks[0])[:3]
    written = ledger(tasks, tmp_path)
    written.write(0, first, timing([1e-3, 1e-3]), REFERENCE, **WHERE)
    written.write(0, second, Failure("crash", "SIGSEGV"), REFERENCE, **WHERE)
    again = ledger(tasks, tmp_path)
    for each in (written, again):
        assert each.known(0, first) == Known(0.5)
        assert each.known(0, second) == Known(None)
        assert each.known(0, third) is None
        assert not each.all_known(1)
    assert (written.measured, again.measured) == (2, 0)


def test_sees_what_another_writes(tasks, tmp_path):
    one, other = ledger(tasks, tmp_path), ledger(tasks, tmp_path)
    decisions = candidates(tasks[1])[0]
    one.write(1, decisions, timing([4e-3]), REFERENCE, **WHERE)
    assert other.known(1, decisions) is None
    other.refresh(1)
    assert other.known(1, decisions) == Known(2.0)


@pytest.mark.parametrize("kind", OF_OTHERS)
def test_failures_of_others_are_counted_and_tried_again(tasks, tmp_path, kind):
    written = ledger(tasks, tmp_path)
    failure = Failure(kind, "unplugged")
    written.write(0, candidates(tasks[0])[0], failure, REFERENCE, **WHERE)
    assert written.failures == [(0, failure)]
    assert not ledger(tasks, tmp_path).all_known(0)


def test_other_threads_and_models_are_other_times(tasks, tmp_path):
    decisions = candidates(tasks[0])[0]
    ledger(tasks, tmp_path).write(0, decisions, timing([1e-3]), REFERENCE, **WHERE)
    assert ledger(tasks, tmp_path, threads=2).known(0, decisions) is None
    modelled = Ledger(tasks, TARGET, Database(tmp_path, VERSION), modelled=True)
    assert modelled.known(0, decisions) is None


@pytest.mark.parametrize("thorough_first", [True, False])
def test_thorough_times_count_more(tasks, tmp_path, thorough_first):
    decisions = candidates(tasks[0])[0]
    written = ledger(tasks, tmp_path)
    for thorough in (thorough_first, not thorough_first):
        seconds = 1e-3 if thorough else 3e-3
        written.write(0, decisions, timing([seconds]), REFERENCE, thorough=thorough, **WHERE)
    assert ledger(tasks, tmp_path).known(0, decisions) == Known(0.5, thorough=True)


def test_a_full_disk_is_said_and_nothing_is_known_that_is_not_written(tasks, tmp_path):
    first, second = candidates(tasks[0])[:2]
    written = ledger(tasks, tmp_path)
    written.write(0, first, timing([1e-3]), REFERENCE, **WHERE)
    (file,) = tmp_path.glob("*.jsonl")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 50, limits[1]))
    try:
        with pytest.raises(OutputError, match="cannot be written: File too large"):
            written.write(0, second, timing([1e-3]), REFERENCE, **WHERE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert written.known(0, second) is None
    assert written.measured == 1
    assert list(ledger(tasks, tmp_path).all_known(0)) == list(written.all_known(0))
