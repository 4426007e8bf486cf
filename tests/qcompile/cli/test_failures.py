"""Every end that a command can take: exit codes and the one message."""

import faulthandler
import gc
import json
import os
import re
import signal
import subprocess
import sys
import time
import types

import numpy as np
import pytest
from cli_fakes import write_bundle

from qcompile import errors
from qcompile.cli.process import run_in_child


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["compress"],
        ["check"],
        ["check", "m.onnx", "--batch", "0"],
        ["check", "m.onnx", "--batch", "9" * 5000],
        ["check", "m.onnx", "--shape", "x"],
        ["check", "m.onnx", "--shape", "x:1x-3"],
        ["check", "m.onnx", "--shape", "x:1x3", "--shape", "x:1x4"],
        ["check", "m.onnx", "--dat", "x.npz"],
        ["compile", "m.onnx", "-o", "out"],
        ["compile", "m.onnx", "--target", "host"],
        ["compile", "m.onnx", "--target", "host", "-o", "out", "--bits", "bits.json"],
        ["compile", "m.onnx", "--target", "host", "-o", "out", "--scales", "dyadic"],
        ["run", "net"],
        ["bench", "net", "--against", "tvm", "--model", "m.onnx"],
        ["bench", "net", "--against", "onnxruntime"],
        ["bench", "net", "--against", "litert", "--model", "m.onnx"],
        ["bench", "net", "--model", "m.onnx"],
    ],
)
def test_wrong_usage_is_2(cli, arguments):
    code, out, err = cli(*arguments)
    assert (code, out) == (2, "") and "usage: qcompile" in err and "error: " in err


def refuse(kind):
    def work():
        raise kind

    return work


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (errors.Unsupported("Conv 'c': no"), "Conv 'c': no"),
        (errors.Unsupported("Conv '\x1b[31m\a': no"), "Conv '\\x1b[31m\\x07': no"),
        (MemoryError("80 GiB"), "out of memory: 80 GiB"),
        (RuntimeError("std::bad_alloc"), "out of memory: std::bad_alloc"),
        (PermissionError(13, "Permission denied", "out"), "out: Permission denied"),
        (KeyError("x"), "internal error: KeyError: 'x' (QCOMPILE_DEBUG=1 shows where"),
    ],
)
def test_faults_are_1_with_one_message(capfd, error, message):
    assert run_in_child(refuse(error)) == 1
    out, err = capfd.readouterr()
    assert out == "" and err.startswith(f"qcompile: {message}") and err.count("\n") == 1


def test_an_infeasible_request_is_3(capfd):
    error = errors.Infeasible("latency 1: too little", "latency", nearest=None, needs={})
    assert run_in_child(refuse(error)) == 3
    assert capfd.readouterr() == ("", "qcompile: latency 1: too little\n")


def test_debugging_shows_the_traceback(capfd, monkeypatch):
    monkeypatch.setenv("QCOMPILE_DEBUG", "1")
    assert run_in_child(refuse(errors.Unsupported("no"))) == 1
    assert "Traceback" in capfd.readouterr().err


@pytest.mark.parametrize("kind", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL, signal.SIGILL])
def test_a_crash_is_1_with_one_message(capfd, kind):
    def work():
        faulthandler.disable()  # pytest's, which would report the crash too
        os.write(2, b"LLVM ERROR: out of registers\n")
        os.kill(os.getpid(), kind)

    assert run_in_child(work) == 1
    err = capfd.readouterr().err
    assert err == f"qcompile: the work ended with {kind.name}: LLVM ERROR: out of registers\n"


@pytest.mark.parametrize("code", [0, 1])
def test_a_library_that_exits_is_1_with_one_message(capfd, code):
    def work():
        os.write(2, b"LLVM ERROR: IO failure on output stream\n")
        os._exit(code)

    assert run_in_child(work) == 1
    err = capfd.readouterr().err
    told = "LLVM ERROR: IO failure on output stream"
    assert err == f"qcompile: the work ended with exit code {code}: {told}\n"


def test_a_crash_on_a_full_disk_says_so(capfd, monkeypatch):
    full = types.SimpleNamespace(free=0)
    monkeypatch.setattr("qcompile.cli.process.shutil.disk_usage", lambda folder: full)
    assert run_in_child(lambda: os._exit(1)) == 1
    assert re.search(r"exit code 1: the disk of \S+ is full\n$", capfd.readouterr().err)


def test_keeps_the_noise_of_tools_aside(capfd):
    assert run_in_child(lambda: os.write(2, b"a warning of some library\n")) == 0
    assert capfd.readouterr().err == ""


def test_refuses_to_take_all_memory(capfd):
    assert run_in_child(lambda: np.ones(2**50, "uint8")) == 1
    assert "qcompile: out of memory" in capfd.readouterr().err


def start(code):
    """A process that runs `code` as the work of a command."""
    program = f"""
import os, sys, time
from qcompile.cli.process import run_in_child
def work():
    {code}
sys.exit(run_in_child(work))
"""
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_is_130_and_cleans_up(kind):
    code = "import tempfile\n    with tempfile.TemporaryDirectory() as f:\n"
    code += "        print(f, flush=True)\n        time.sleep(60)"
    process = start(code)
    folder = process.stdout.readline().strip()
    assert os.path.isdir(folder)
    process.send_signal(kind)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "qcompile: interrupted\n")
    assert not os.path.exists(folder)


def test_ctrl_c_inside_a_finalizer_is_not_lost():
    code = "class Slow:\n        def __del__(self):\n"
    code += "            print(flush=True)\n            time.sleep(1)\n"
    code += "    Slow()\n    time.sleep(60)"
    process = start(code)
    process.stdout.readline()
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "qcompile: interrupted\n")


def test_ctrl_c_that_a_library_drops_is_not_lost():
    code = "try:\n        print(flush=True)\n        [time.sleep(0.1) for _ in range(600)]\n"
    code += "    except BaseException:\n        pass\n    time.sleep(60)"
    process = start(code)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "qcompile: interrupted\n")


def test_ctrl_c_waits_for_the_clean_up():
    code = "try:\n        print(flush=True)\n        [time.sleep(0.1) for _ in range(600)]\n"
    code += "    finally:\n        time.sleep(0.5)\n        print('clean', flush=True)"
    process = start(code)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (130, "clean\n", "qcompile: interrupted\n")


def test_a_second_ctrl_c_ends_what_does_not_listen():
    code = "import signal\n    signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    code += "    print(flush=True)\n    time.sleep(60)"
    process = start(code)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130


def test_a_closed_pipe_is_quiet():
    process = start("[print('x' * 1000) for _ in range(10000)]")
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait(20) == 128 + signal.SIGPIPE
    process.stderr.close()


def test_a_full_disk_is_told():
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "qcompile", "targets"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "qcompile: No space left on device\n")


def manifest(**changes):
    """A whole manifest of an empty bundle, with changes."""
    fields = {"format": 1, "name": "net", "target": "host", "threads": 1, "features": []}
    fields |= {"inputs": [], "outputs": [], "layers": [], "float_ops": []}
    return json.dumps({**fields, "workspace_bytes": 0, "weight_bytes": 0, **changes})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no bundle: manifest.json: No such file"),
        ("{", "damaged"),
        ("{}", "not the manifest"),
        ('{"format": 1}', "KeyError: 'name'"),
        (manifest(inputs=[{"name": "x", "dtype": "float99", "shape": [1]}]), "'float99'"),
        (manifest(inputs=[{"name": "x", "dtype": "float32", "shape": [-1]}]), "shape of 'x'"),
        (manifest(layers=[3]), "TypeError: 'int' object"),
    ],
)
def test_says_what_is_no_bundle(cli, tmp_path, content, message):
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    for command in (["bench", tmp_path], ["run", tmp_path, "--inputs", "x.npz"]):
        code, out, err = cli(*command)
        assert (code, out) == (1, "") and message in err and err.count("\n") == 1


def test_refuses_a_bundle_for_another_processor(cli, tmp_path):
    folder = write_bundle(tmp_path / "net", features=["avx1024"])
    code, _, err = cli("bench", folder)
    assert code == 1 and "local: its processor" in err and "lacks avx1024" in err


def test_says_why_the_executable_failed(cli, tmp_path):
    folder = write_bundle(tmp_path / "net")
    (folder / "bin" / "net_bench").write_text("#!/bin/sh\necho broken >&2; exit 3\n")
    code, _, err = cli("bench", folder)
    assert code == 1 and err.endswith("net_bench: broken\n")
    (folder / "bin" / "net_bench").unlink()
    assert "cannot be read: No such file" in cli("bench", folder)[2]


def test_names_the_inputs_of_the_model(cli, calls, tmp_path):
    np.savez(tmp_path / "in.npz", a=np.ones((2, 2)), b=np.ones((2, 2)))
    folder = write_bundle(tmp_path / "net")
    code, _, err = cli("run", folder, "--inputs", tmp_path / "in.npz")
    assert code == 1 and "holds the arrays ['a', 'b']; the model's inputs are ['x']" in err


def test_plots_need_matplotlib(cli, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, out, err = cli("bench", write_bundle(tmp_path / "net"), "--plots")
    assert (code, out) == (1, "") and "pip install 'qcompile[plots]'" in err


def test_comparing_needs_onnxruntime(cli, calls, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    np.savez(tmp_path / "x.npz", x=np.ones((1, 2)))
    code, _, err = cli("check", "m.onnx", "--data", tmp_path / "x.npz")
    assert code == 1 and "pip install 'qcompile[bench]'" in err


def test_starts_quickly():
    code = "import sys, qcompile.cli; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert not {"tvm", "numpy", "onnx", "rich"} & set(loaded)


def test_the_child_leaves_the_garbage_of_its_parent(tmp_path):
    """Its finalizers may wait for threads that the child does not have: onnxruntime's do."""
    told = tmp_path / "finalized"

    class Garbage:
        def __init__(self):
            self.itself = self

        def __del__(self):
            told.touch()

    gc.disable()
    try:
        Garbage()
        assert run_in_child(gc.collect) == 0
        assert not told.exists()
        gc.collect()
        assert told.exists()
    finally:
        gc.enable()
