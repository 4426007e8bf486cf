"""The Python function: what it refuses, what it finds, what it writes, how it ends."""

import json
import os
import time
from collections import Counter
from concurrent.futures import Future
from dataclasses import replace

import pytest

import qcompile
from qcompile.devices.local import Local
from qcompile.errors import DeviceLost, InvalidInput, OutputError
from qcompile.records import Database
from qcompile.schedules.space import VERSION
from qcompile.targets import host_target
from qcompile.tuning import session
from qcompile.tuning.ledger import Ledger
from qcompile.tuning.network import tasks_of
from qcompile.tuning.outcomes import Timing
from qcompile.tuning.result import Silent, TuningInterrupted
from tests.qcompile.tuning.small_models import pooling_free, product

TARGET = "host"


def lines(folder):
    return [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]


def counted(folder):
    """How often each candidate was measured."""
    return Counter(
        (r["workload"], json.dumps(r["decisions"], sort_keys=True), r["thorough"])
        for r in lines(folder)
    )


class Watching:
    """A watcher that does something after so many batches of the search."""

    def __init__(self, after=0, act=lambda: None):
        self.after, self.act, self.said, self.batches = after, act, [], 0

    def say(self, text):
        self.said.append(text)

    def state(self, tasks, measured, trials):
        self.batches += measured > 0
        if self.batches == self.after:
            self.act()


def test_finds_writes_and_goes_on_without_measuring_twice(tmp_path, monkeypatch):
    model, records = product(tmp_path), tmp_path / "records"
    watcher = Watching()
    first = qcompile.tune(model, TARGET, records, trials=6, watcher=watcher)
    assert (first.measured, first.known, first.interrupted) == (6, 0, None)
    assert "searching" in watcher.said
    (task,) = first.tasks
    assert task.default_s > 0 and task.best_s <= task.default_s and task.share == 1
    assert 0 < task.of_limit < 1.2  # a tiny product cannot beat the limit but by noise
    assert first.after_s == task.best_s and first.curve[-1].trials == 6
    monkeypatch.setattr(session, "measured_limits", lambda *arguments: {})
    again = qcompile.tune(model, TARGET, records, trials=3, seed=1)
    assert (again.measured, again.known) == (3, 6)
    counts = counted(records)
    assert set(counts.values()) == {1}
    assert sum(not thorough for *_, thorough in counts) == 1 + 6 + 3


class Quick:
    """A laboratory in which every kernel takes two seconds."""

    batch, asked, lost = 8, 0, ()

    def __init__(self, tasks):
        self.default_s = [None] * len(tasks)

    def measure(self, task, decisions, rounds=None):
        self.default_s[task], done = 2.0, Future()
        done.set_result([Timing((2.0,), 0, 0.0)])
        return done

    def finish(self):
        pass


@pytest.mark.parametrize(("evenly", "weight"), [(False, 3), (True, 1 / 2)])
def test_tasks_count_by_their_calls_or_alike(tmp_path, monkeypatch, evenly, weight):
    target, asked = host_target(), []
    (task,) = tasks_of(product(tmp_path), target, lambda text: None)
    tasks = [replace(task, layers=("a", "b", "c"))]
    monkeypatch.setattr(session, "search", lambda tasks, weights, *others: asked.append(weights))
    ledger = Ledger(tasks, target, Database(tmp_path / "records", VERSION), modelled=False)
    one = session.Session(tasks, target, ledger, Silent(), 1)
    one.run(Quick(tasks), seed=0, limits={}, evenly=evenly)
    assert asked == [[weight]]
    found = one.result(None)
    assert found.measured == 0 and found.tasks[0].best is None


@pytest.fixture
def without_limits(monkeypatch):
    """Nothing is asked of the limits, which take as long to measure as some candidates."""
    monkeypatch.setattr(session, "measured_limits", lambda *arguments: {})


def test_what_is_still_measured_when_the_trials_are_spent_counts(
    tmp_path, monkeypatch, without_limits
):
    """MetaSchedule asks for candidates of the next task before those of the last are measured."""

    def shell(self, script):
        time.sleep(0.3)
        return original(self, script)

    original = Local.shell
    monkeypatch.setattr(Local, "shell", shell)
    monkeypatch.setattr(session, "FINALISTS", 0)  # nothing else is waited for
    found = qcompile.tune(product(tmp_path, (32, 48, 20)), TARGET, tmp_path / "records", trials=10)
    assert len(found.tasks) == 3 and found.measured == 10


def test_a_lost_device_ends_it_with_the_result_so_far(tmp_path, monkeypatch, without_limits):
    calls = []

    def shell(self, script):
        calls.append(script)
        if len(calls) > 6:
            raise DeviceLost("local: gone")
        return original(self, script)

    original = Local.shell
    monkeypatch.setattr(Local, "shell", shell)
    records = tmp_path / "records"
    found = qcompile.tune(product(tmp_path), TARGET, records, trials=20)
    assert "gone" in found.interrupted and found.lost
    assert 0 < found.measured < 20
    assert found.measured == sum(not (r["default"] or r["thorough"]) for r in lines(records))
    assert found.tasks[0].default_s > 0


def test_an_interrupt_carries_the_result_so_far(tmp_path, monkeypatch, without_limits):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(session.Session, "_confirm", interrupted)
    records, threads = tmp_path / "records", min(2, os.cpu_count())
    with pytest.raises(TuningInterrupted) as caught:
        qcompile.tune(product(tmp_path), TARGET, records, trials=3, threads=threads)
    assert caught.value.result.measured == 3
    assert caught.value.result.interrupted == "interrupted"
    assert caught.value.result.threads == threads
    assert all(r["threads"] == threads for r in lines(records))
    assert all(("chunks" in r["decisions"]) == (threads > 1) for r in lines(records))


def test_a_failing_untuned_kernel_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("qcompile.tuning.laboratory._text", lambda task: "no function")
    with pytest.raises(qcompile.errors.QCompileError, match="untuned kernel"):
        qcompile.tune(product(tmp_path), TARGET, tmp_path / "records", trials=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trials": 0}, "trials is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"devices": []}, "no device"),
        ({"devices": ["local", "model:rpi4"]}, "boards and models"),
        ({"threads": 0}, "threads is 0"),
        ({"threads": 256}, "local: has [0-9]+ cores, and threads is 256"),
        ({"threads": 2, "devices": ["model:rpi4"]}, "model:rpi4: models one core"),
    ],
)
def test_refuses_what_makes_no_sense(tmp_path, options, message):
    with pytest.raises(InvalidInput, match=message):
        qcompile.tune(product(tmp_path), TARGET, tmp_path / "records", **options)
    assert not (tmp_path / "records" / "records.jsonl").exists() or not lines(tmp_path / "records")


def test_refuses_a_model_without_tunable_kernels(tmp_path):
    with pytest.raises(InvalidInput, match="none of its kernels can be tuned"):
        qcompile.tune(pooling_free(tmp_path), TARGET, tmp_path / "records")


def test_refuses_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "records").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        qcompile.tune(tmp_path / "missing.onnx", TARGET, tmp_path / "records")
