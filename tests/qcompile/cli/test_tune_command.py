"""`qcompile tune` as users meet it: the whole way, interrupted, killed, twice at once, misused."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import psutil
import pytest

from qcompile.cli.tune_progress import LiveTable
from qcompile.tuning.result import TaskState
from tests.qcompile.tuning.small_models import pooling_free, product

BUNDLED = Path(__file__).parents[3] / "qcompile" / "demo_data" / "fmnist_cnn_int8_qdq.onnx"
PATIENCE_S = 60
FOREIGN = "rpi4"  # a target of another architecture than any machine that runs the tests


def start(model, records, trials=200):
    words = [sys.executable, "-m", "qcompile", "tune", str(model), "--target", "host"]
    return subprocess.Popen(
        [*words, "--records", str(records), "--trials", str(trials)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def read(records):
    file = records / "records.jsonl"
    return file.read_text().splitlines() if file.exists() else []


def until_measured(process, records, count):
    """Wait until the records have so many lines."""
    deadline = time.monotonic() + PATIENCE_S
    while len(read(records)) < count:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def expect_gone(processes):
    gone, alive = psutil.wait_procs(processes, timeout=20)
    assert not alive and gone


def counted(records):
    found = [json.loads(line) for line in read(records)]
    return Counter((r["workload"], json.dumps(r["decisions"]), r["thorough"]) for r in found)


def test_the_whole_way(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "damaged.jsonl").write_text("{\nnonsense\n")
    options = ["--target", "host", "--records", "db", "--trials", "8", "--json", "found.json"]
    code, out, err = cli("tune", BUNDLED, *options)
    assert code == 0, err
    assert err.splitlines()[-1] == "measuring the best once more"  # no terminal: plain lines
    head, *rows = out.splitlines()
    names = ["task", "calls", "share", "us before", "us after", "gain", "of limit", "trials"]
    assert all(name in head for name in names)
    found = json.loads((tmp_path / "found.json").read_text())
    tasks = sorted(found["tasks"], key=lambda task: -task["share"])
    assert [row.split()[0] for row in rows[: len(tasks)]] == [task["name"] for task in tasks]
    assert "records skipped: 2 corrupted" in out
    assert "trials: 8 measured now" in rows and found["measured"] == 8
    assert found["limits"]["int8"] > 1e9 and 0 < tasks[0]["of_limit"] < 1.2
    assert (
        found["after_s"] <= found["before_s"]
        and sum(counted(tmp_path / "db").values()) >= len(tasks) + 8
    )
    assert f"qcompile compile {BUNDLED} --target host --records db -o build" in out


def kill(process):
    (tune,) = psutil.Process(process.pid).children()
    tune.kill()
    process.kill()


def interrupt(process, count):
    for _ in range(count):  # as a terminal does: to all of them
        os.killpg(process.pid, signal.SIGINT)


def test_what_ends_it_loses_nothing_and_nothing_is_measured_twice(tmp_path):
    """A kill, then Ctrl-C twice, which kills, then once, which prints how to resume."""
    model, records = product(tmp_path), tmp_path / "db"
    known = counted(records)
    for end in (kill, partial(interrupt, count=2), partial(interrupt, count=1)):
        process = start(model, records)
        until_measured(process, records, len(known) + 5)
        children = psutil.Process(process.pid).children(recursive=True)
        end(process)
        out, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == (-signal.SIGKILL if end is kill else 130)
        expect_gone(children)
        before, known = known, counted(records)
        assert set(known.values()) == {1} and before.keys() < known.keys()
    assert "nothing measured is lost; the same command goes on from here" in out
    assert " measured now; " in out and "known before" in out
    assert err.endswith("qcompile: interrupted\n")


def test_two_write_to_one_folder(tmp_path):
    model, records = product(tmp_path), tmp_path / "db"
    both = [start(model, records, trials=6) for _ in range(2)]
    ends = [process.communicate(timeout=2 * PATIENCE_S) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    found = [json.loads(line) for line in read(records)]
    assert sum(not (r["default"] or r["thorough"]) for r in found) == 12


@pytest.mark.parametrize("trials", ["0", "-3", "many", "1.5"])
def test_trials_that_are_no_number_are_wrong_usage(cli, trials):
    code, out, err = cli(
        "tune", "m.onnx", "--target", "host", "--records", "db", f"--trials={trials}"
    )
    assert (code, out) == (2, "") and f"{trials!r} is no positive number" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--target", FOREIGN], "this machine cannot measure its kernels"),
        (["--target", "host", "--device", "nowhere"], "no device 'nowhere'"),
        (["--target", "host", "--device", "qemu"], "an emulator says nothing about speed"),
        (["--target", "host", "--device", "model:rpi4"], "not all that code for host uses"),
        (["--target", "host", "--device", "model:rpi9"], "no target 'rpi9'"),
        (["--target", "nowhere"], "no target 'nowhere'"),
    ],
)
def test_devices_that_cannot_measure_are_1_with_one_message(cli, tmp_path, options, message):
    code, out, err = cli("tune", product(tmp_path), "--records", tmp_path / "db", *options)
    assert (code, out) == (1, "") and message in err.splitlines()[-1]


def test_an_unusable_folder_is_refused_before_any_work(cli, tmp_path):
    (tmp_path / "db").write_text("")
    options = ["--target", "host", "--records", tmp_path / "db"]
    code, out, err = cli("tune", product(tmp_path), *options)
    assert (code, out) == (1, "") and err.count("\n") == 1 and "is a file" in err


def test_a_model_without_tunable_kernels_is_told(cli, tmp_path):
    options = ["--target", "host", "--records", tmp_path / "db"]
    code, _, err = cli("tune", pooling_free(tmp_path), *options)
    assert code == 1 and "none of its kernels can be tuned" in err


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is not None, reason="it is installed")
def test_plots_without_matplotlib_are_refused_before_any_work(cli, tmp_path):
    options = ["--target", "host", "--records", tmp_path / "db", "--plots"]
    code, out, err = cli("tune", product(tmp_path), *options)
    assert (code, out) == (1, "") and "pip install 'qcompile[plots]'" in err
    assert not (tmp_path / "db").exists()


def test_plots_are_drawn_here(cli, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    options = ["--target", "host", "--records", "db", "--trials", "2", "--plots"]
    code, out, err = cli("tune", product(tmp_path), *options)
    assert code == 0, err
    for name in ("tuning.png", "tuning_tasks.png"):
        assert f"wrote {tmp_path / name}" in out
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_the_live_table_has_a_line_for_each_task():
    from rich.console import Console

    table = LiveTable()
    table.say("searching")
    state = TaskState("conv[1]", "conv2d_int8", 2, 1.0, 99, 7, 0, 2e-6, 1.5e-6, {}, 1.2e-6)
    table.state([state], 4, 40)
    console = Console(width=120)
    with console.capture() as captured:
        console.print(table.render())
    line, _, row = captured.get().splitlines()
    assert line.strip() == "searching: 4 of 40 trials, 4 us -> 3 us (25.0 %)"
    assert row.split() == ["conv[1]", "1.5", "80", "%", "7", "25.0", "%"]
