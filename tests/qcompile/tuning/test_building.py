"""Workers build what can be built, and outlive what cannot."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tuning_candidates import dense, local_target

from qcompile.export.elf import read_symbols
from qcompile.tuning.building import Builders
from qcompile.tuning.cores import share_cores
from qcompile.tuning.outcomes import Failure
from qcompile.tuning.worker_process import Built, Job

PREPARE = "misbehaving:prepare"
ORPHAN = """
import sys
from qcompile.tuning.building import Builders
from qcompile.tuning.worker_process import Job
from tuning_candidates import dense, local_target
builders = Builders(local_target(), 1, prepare="misbehaving:prepare")
builders.build([Job(dense(local_target())[0])])
print(builders._workers[0]._process.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def workers_find_modules(monkeypatch):
    folders = [str(Path(__file__).parent), str(Path(__file__).parents[3])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(folders))


@pytest.fixture(scope="module")
def function():
    return dense(local_target())


def test_builds_in_order(function):
    text, operands = function
    with Builders(local_target(), 2, prepare=PREPARE) as builders:
        found = builders.build([Job(text, {}), Job(text), Job(text)])
        found += builders.build([Job(text)])
    assert all(isinstance(built, Built) for built in found)
    assert len({built.symbol for built in found}) == 4
    for built in found:
        names = {s.name for s in read_symbols(built.content) if s.defined and not s.local}
        assert f"{built.symbol}_p0" in names
        sizes = [array.nbytes for array in operands]
        assert list(built.operand_bytes[: len(sizes)]) == sizes
        dtypes = [str(array.dtype) for array in operands]
        assert list(built.dtypes) == [*dtypes, "uint8"]
        assert built.operand_bytes[len(sizes)] == 16 * 40  # the output's


def test_modules_of_the_working_folder_are_not_the_packages(function, tmp_path, monkeypatch):
    """Else a folder `qcompile` there, such as an older checkout, is what a worker imports."""
    monkeypatch.chdir(tmp_path)
    with Builders(local_target(), 1, prepare=PREPARE) as builders:
        (failure,) = builders.build([Job(function[0], {"tell": "sys.path"})])
    folder, _, searched = failure.message.rpartition("ValueError: ")[2].partition(" ")
    assert folder == str(tmp_path) and folder not in searched


def test_outlives_what_ends_its_process(function):
    text, _ = function
    jobs = [
        *(
            Job(text, {"killed": True}),
            Job(text),
            Job(text, {"abort": "LLVM ERROR: no such thing"}),
        ),
        *(Job(text, {"fail": "first\nlast"}), Job(text)),
    ]
    with Builders(local_target(), 1, prepare=PREPARE) as builders:
        killed, one, aborted, failed, other = builders.build(jobs)
    assert killed == Failure("build", "the process that builds ended with SIGKILL")
    assert aborted.kind == "build" and "SIGABRT: LLVM ERROR: no such thing" in aborted.message, (
        aborted
    )
    assert failed == Failure("build", "ValueError: last")
    assert isinstance(one, Built) and isinstance(other, Built)


def test_ends_what_takes_too_long(function):
    text, _ = function
    with Builders(local_target(), 1, prepare=PREPARE, limit_s=3) as builders:
        slow, quick = builders.build([Job(text, {"sleep": 600}), Job(text)])
    assert slow == Failure("build timeout", "not built within 3 s")
    assert isinstance(quick, Built)


def test_tells_why_no_worker_starts(function):
    with Builders(local_target(), 1, prepare="nowhere:prepare") as builders:
        (found,) = builders.build([Job(function[0])])
    assert found.kind == "build" and "No module named 'nowhere'" in found.message


def test_workers_leave_cores_free(function):
    core = min(os.sched_getaffinity(0))
    with Builders(local_target(), 1, [core], prepare=PREPARE) as builders:
        (found,) = builders.build([Job(function[0], {"tell": True})])
    assert found == Failure("build", f"ValueError: {local_target().name} [{core}]")


def test_workers_end_with_their_parent(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # a parent that is killed leaves its folder
    parent = subprocess.Popen(
        [sys.executable, "-c", ORPHAN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with parent:
        worker = int(parent.stdout.readline())
        os.kill(worker, 0)
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _lives(worker):
        time.sleep(0.05)
    assert not _lives(worker)


def _lives(process):
    """Whether it runs; where nobody waits for orphans it stays as a zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("usable", "local_devices", "threads", "building", "measuring"),
    [
        ((0, 1), 1, 1, (0,), ((1,),)),
        ((0, 1, 2, 3), 1, 1, (0, 1, 2), ((3,),)),
        ((4, 6, 7), 2, 1, (4,), ((7,), (6,))),
        ((0, 1), 2, 1, (0, 1), ((1,), (0,))),
        ((5,), 1, 1, (5,), ((5,),)),
        ((0, 1), 3, 1, (0, 1), ((1,), (0,), (1,))),
        ((0, 1), 0, 1, (0, 1), ()),
        ((0, 1, 2, 3), 1, 2, (0, 1), ((3, 2),)),
        ((0, 1, 2, 3, 4), 2, 2, (0,), ((4, 3), (2, 1))),
        ((0, 1), 1, 2, (0, 1), ((1, 0),)),
        ((0, 1), 1, 4, (0, 1), ((1, 0),)),
    ],
)
def test_shares_cores(usable, local_devices, threads, building, measuring):
    found = share_cores(local_devices, usable, threads=threads)
    assert (found.building, found.measuring) == (building, measuring)
    assert found.shared == bool(set(building) & {c for device in measuring for c in device})
