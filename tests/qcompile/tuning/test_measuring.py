"""Candidates are timed when they compute what the reference does; devices may be lost."""

import threading
from concurrent.futures import CancelledError
from dataclasses import replace

import numpy as np
import pytest
import tvm
from tuning_candidates import (
    ABORTS,
    GOOD,
    HALF,
    HANGS,
    OVERWRITES,
    SEGMENTATION,
    SLOW,
    UNLINKABLE,
    WRONG,
    batch_in_c,
    dense,
    local_target,
)

from qcompile.devices.local import Local
from qcompile.errors import DeviceError, DeviceLost
from qcompile.passes.replan import anchor_of
from qcompile.targets import load_target
from qcompile.tuning import measuring
from qcompile.tuning.batch import Batch, Candidate
from qcompile.tuning.building import Builders
from qcompile.tuning.cores import share_cores
from qcompile.tuning.measuring import Measurer
from qcompile.tuning.outcomes import Failure, Timing
from qcompile.tuning.stations import Rounds
from qcompile.tuning.worker_process import Built, Job

QUICK = Rounds(burst_s=5e-5, least=3, spread=0.05, budget_s=0.05, limit_s=1)
SCHEDULED_ALREADY = "qcompile.schedules:schedule"  # never called: the jobs decide nothing
PARTS = "for (int k = begin; k < n; ++k) y[k] = x[k] + 1;"
WHOLE = f"if (begin == 0 && n == 1024) {{ {GOOD} }}"
FLOAT = "for (int k = 0; k < n; ++k) y[k] = x[k] / 3;"
NEARLY = "for (int k = 0; k < n; ++k) y[k] = x[k] * (1.0f / 3);"
FAR = "for (int k = 0; k < n; ++k) y[k] = x[k] / 3 + (k == 7 ? 0.5f : 0);"
NAN = 'for (int k = 0; k < n; ++k) y[k] = k == 7 ? __builtin_nanf("") : x[k] / 3;'


class Fragile(Local):
    """A device that is lost after it has run so many programs."""

    def __init__(self, name, runs):
        super().__init__(name)
        self.left = runs

    def run(self, program, *arguments):
        if self.left == 0:
            raise DeviceLost(f"{self.name}: the cable is out")
        self.left -= 1
        return super().run(program, *arguments)


def opener(**runs):
    """Opens devices of these names, which are lost after so many programs; others never."""
    return lambda name, *_: Fragile(name, runs.get(name, -1))


def kinds(outcomes):
    return [o.kind if isinstance(o, Failure) else "timing" for o in outcomes]


def outcomes_of(batch, names=("local",), **options):
    with Measurer(names, local_target(), rounds=QUICK, **options) as measurer:
        return measurer.submit(batch).result()


def test_times_a_real_kernel():
    target = local_target()
    text, operands = dense(target)
    cores = share_cores(1)
    with Builders(target, 1, cores.building, prepare=SCHEDULED_ALREADY) as builders:
        built = builders.build([Job(text)] * 3)
    assert all(isinstance(one, Built) for one in built)
    reference, *others = [Candidate(one, operands) for one in built]
    found = outcomes_of(Batch(reference, tuple(others)), cores=cores.measuring)
    assert kinds(found) == ["timing"] * 3
    for one in found:
        assert len(one.seconds) + one.dropped >= QUICK.least
        assert 0 < one.seconds_each < 1e-3  # of 61440 products
        assert min(one.seconds) <= one.seconds_each <= max(one.seconds)


@pytest.mark.parametrize(("threads", "kind"), [(1, "timing"), (2, "wrong result")])
def test_threads_share_the_iterations(tmp_path, threads, kind):
    """The second candidate computes only where it gets all of them at once."""
    batch = batch_in_c([PARTS, PARTS, WHOLE], local_target(), tmp_path)
    assert kinds(outcomes_of(batch, threads=threads)) == ["timing", "timing", kind]


def test_decisions_change_no_result():
    """Operands lie in memory as each candidate wants them; the outputs are equal."""
    target, rng = local_target(), np.random.default_rng(0)
    text, operands = dense(target, 31, 50, 70)
    anchor = anchor_of(tvm.ir.load_json(text))
    tunable, problem = anchor.tunable, anchor.problem
    space = tunable.space(problem, target).decisions
    decisions = [{}] + [
        {one.name: one.choices[rng.integers(len(one.choices))] for one in space} for _ in range(6)
    ]
    cores = share_cores(1)
    with Builders(target, 1, cores.building) as builders:
        built = builders.build([Job(text, own) for own in decisions])
    candidates = []
    for one, own in zip(built, decisions, strict=True):
        plan = tunable.planned(problem, target, own)
        arranged = tunable.operands(plan, np.random.default_rng(0))
        candidates.append(Candidate(one, (*arranged, *operands[len(arranged) :])))
    found = outcomes_of(Batch(candidates[0], tuple(candidates[1:])), cores=cores.measuring)
    assert kinds(found) == ["timing"] * 7


def test_failures_cost_the_others_nothing(tmp_path):
    bodies = [GOOD, ABORTS, GOOD, WRONG, SEGMENTATION, HALF, HANGS, UNLINKABLE, GOOD]
    found = outcomes_of(batch_in_c(bodies, local_target(), tmp_path))
    assert kinds(found) == [
        *("timing", "crash", "timing", "wrong result", "crash", "wrong result"),
        *("timeout", "link", "timing"),
    ]
    assert [found[k].message for k in (1, 4, 6)] == [
        *("SIGABRT", "SIGSEGV", "it ran for more than 1 s")
    ]


def test_operands_cannot_be_overwritten(tmp_path):
    found = outcomes_of(batch_in_c([GOOD, OVERWRITES, GOOD], local_target(), tmp_path))
    assert found[1] == Failure("crash", "SIGSEGV")
    assert kinds(found) == ["timing", "crash", "timing"]


def test_slow_candidates_run_twice(tmp_path):
    found = outcomes_of(batch_in_c([GOOD, SLOW, GOOD], local_target(), tmp_path))
    counts = [len(one.seconds) + one.dropped for one in found]
    assert counts[1] == 2 and min(counts[0], counts[2]) >= QUICK.least
    assert found[1].seconds_each > 2 * found[0].seconds_each


def test_a_slow_untuned_kernel_has_all_rounds(tmp_path):
    """What all others are compared with must not be told by two samples."""
    found = outcomes_of(batch_in_c([SLOW, GOOD], local_target(), tmp_path))
    assert found[0].seconds_each > 2 * found[1].seconds_each
    assert all(len(one.seconds) + one.dropped >= QUICK.least for one in found)


@pytest.mark.parametrize(("tolerance", "nearly"), [(0.0, "wrong result"), (1e-6, "timing")])
def test_floats_may_be_near(tolerance, nearly, tmp_path):
    bodies = [FLOAT, NEARLY, FAR, NAN]
    found = outcomes_of(batch_in_c(bodies, local_target(), tmp_path, tolerance, "float"))
    assert kinds(found) == ["timing", nearly, "wrong result", "wrong result"]
    # The largest value is 99 / 3.
    apart = [", up to 0.5 of 33 apart", ", up to inf of 33 apart"] if tolerance else ["", ""]
    told = "its output is not that of the untuned kernel"
    assert [one.message for one in found[2:]] == [told + text for text in apart]


def test_nothing_counts_without_a_reference(tmp_path):
    found = outcomes_of(batch_in_c([ABORTS, GOOD, GOOD], local_target(), tmp_path))
    assert found[0] == Failure("crash", "SIGABRT")
    assert found[1:] == [Failure("reference", "the untuned kernel: crash: SIGABRT")] * 2


def test_measures_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(measuring, "MOST_BYTES", 1)
    found = outcomes_of(batch_in_c([GOOD, WRONG, GOOD], local_target(), tmp_path))
    assert kinds(found) == ["timing", "wrong result", "timing"]


def test_devices_work_side_by_side(tmp_path):
    target, together = local_target(), threading.Barrier(2, timeout=60)

    class Waiting(Local):
        """Runs its second program, the first after the trial, with the other device."""

        runs = 0

        def run(self, program, *arguments):
            self.runs += 1
            if self.runs == 2:
                together.wait()
            return super().run(program, *arguments)

    with Measurer(
        ["local", "local"], target, rounds=QUICK, open_board=lambda name, *_: Waiting(name)
    ) as measurer:
        batches = [batch_in_c([GOOD, GOOD], target, tmp_path) for _ in range(2)]
        futures = [measurer.submit(batch) for batch in batches]
        assert [kinds(future.result()) for future in futures] == [["timing"] * 2] * 2


def test_another_device_takes_over(tmp_path):
    """One program for the trial, one for the first part of the first batch."""
    target = local_target()
    with Measurer(["frail", "firm"], target, rounds=QUICK, open_board=opener(frail=2)) as measurer:
        batches = [batch_in_c([GOOD, GOOD, WRONG], target, tmp_path) for _ in range(4)]
        futures = [measurer.submit(batch) for batch in batches]
        expected = ["timing", "timing", "wrong result"]
        assert [kinds(future.result()) for future in futures] == [expected] * 4
        assert measurer.lost == ["frail: the cable is out"]


def test_keeps_what_a_lost_device_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(measuring, "MOST_BYTES", 1)
    target = local_target()
    with Measurer(["frail"], target, rounds=QUICK, open_board=opener(frail=2)) as measurer:
        found = measurer.submit(batch_in_c([GOOD, GOOD, GOOD], target, tmp_path)).result()
    assert kinds(found) == ["timing", "timing", "device"]


def test_says_which_devices_are_lost(tmp_path):
    target = local_target()
    batch = batch_in_c([GOOD, GOOD], target, tmp_path)
    with Measurer(
        ["one", "two"], target, rounds=QUICK, open_board=opener(one=1, two=1)
    ) as measurer:
        found = [measurer.submit(batch) for _ in range(3)]
        for future in found[:2]:
            assert kinds(future.result()) == ["device"] * 2
        assert "the cable is out" in found[2].result()[0].message
        with pytest.raises(DeviceLost, match=r"no device is left.*(one.*two|two.*one)"):
            measurer.submit(batch)


def test_a_batch_that_no_device_stands_ends(tmp_path):
    """Two of three devices are lost with it; the third goes on."""

    class Deadly(Local):
        def run(self, program, *arguments):
            if "time" in arguments and arguments[-1] == "2":
                raise DeviceLost(f"{self.name}: it does not answer any more")
            return super().run(program, *arguments)

    target = local_target()
    with Measurer(
        ["a", "b", "c"], target, rounds=QUICK, open_board=lambda name, *_: Deadly(name)
    ) as measurer:
        deadly = measurer.submit(batch_in_c([GOOD, GOOD, GOOD], target, tmp_path))
        assert kinds(deadly.result()) == ["device"] * 3
        assert kinds(measurer.submit(batch_in_c([GOOD, GOOD], target, tmp_path)).result()) == [
            *("timing", "timing")
        ]
        assert len(measurer.lost) == 2


def test_close_cancels_what_waits(tmp_path):
    target, begun, go_on = local_target(), threading.Event(), threading.Event()

    class Held(Local):
        runs = 0

        def run(self, program, *arguments):
            self.runs += 1
            if self.runs == 2:
                begun.set()
                assert go_on.wait(60)
            return super().run(program, *arguments)

    measurer = Measurer(["local"], target, rounds=QUICK, open_board=lambda name, *_: Held(name))
    batch = batch_in_c([GOOD, GOOD], target, tmp_path)
    first, second = measurer.submit(batch), measurer.submit(batch)
    assert begun.wait(60)
    closing = threading.Thread(target=measurer.close)
    closing.start()
    with pytest.raises(TimeoutError):
        first.result(timeout=0.2)
    go_on.set()
    closing.join()
    assert kinds(first.result()) == ["timing", "timing"]
    with pytest.raises(CancelledError):
        second.result()


def test_refuses_emulators():
    with pytest.raises(DeviceError, match=r"qemu.*an emulator says nothing about speed"):
        Measurer(["qemu"], local_target())


def test_refuses_devices_of_other_processors():
    other = "rpi4" if local_target().architecture.name == "x86_64" else "x86-64-v3"
    with pytest.raises(DeviceError, match="compile for a target of that processor"):
        Measurer(["local"], load_target(other))
    with pytest.raises(DeviceError, match="no device 'nowhere'"):
        Measurer(["local", "nowhere"], local_target())
    with pytest.raises(DeviceError, match=r"model:rpi4: it has not all.*model:rpi5"):
        Measurer(["model:rpi4"], load_target("rpi5"))


def test_a_device_must_stand_the_trial():
    class Mute(Local):
        def run(self, program, *arguments):
            return replace(super().run(program, *arguments), code=126, messages="noexec")

    with pytest.raises(DeviceError, match="the program cannot be started: noexec"):
        Measurer(["mute"], local_target(), open_board=lambda name, *_: Mute(name))


@pytest.mark.emulated
@pytest.mark.parametrize("name", ["rpi4", "armv7-a9"])
def test_models_time_candidates(name, tmp_path):
    target = load_target(name)
    text, operands = dense(target)
    with Builders(target, 1, prepare=SCHEDULED_ALREADY) as builders:
        built = builders.build([Job(text)] * 2)
    reference, other = [Candidate(one, operands) for one in built]
    with Measurer([f"model:{name}"], target, rounds=QUICK) as measurer:
        equal = measurer.submit(Batch(reference, (other,))).result()
        bodies = [GOOD, SLOW, WRONG, ABORTS, GOOD]
        mixed = measurer.submit(batch_in_c(bodies, target, tmp_path)).result()
    assert kinds(equal) == ["timing", "timing"]
    # Equal code at other addresses: the caches' sets differ.
    assert equal[0].seconds_each == pytest.approx(equal[1].seconds_each, rel=0.02)
    assert kinds(mixed) == ["timing", "timing", "wrong result", "crash", "timing"]
    assert mixed[1].seconds_each > 10 * mixed[0].seconds_each  # it does the same 20 times
    assert isinstance(mixed[0], Timing) and mixed[0].spread == 0 and len(mixed[0].seconds) == 1
