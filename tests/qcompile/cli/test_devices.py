"""Devices on the command line: what is listed, what is labelled, what is kept."""

import json
import re

import pytest
from cli_fakes import write_bundle

from qcompile.devices.local import Local
from qcompile.errors import DeviceLost


class Emulated(Local):
    emulated = True


class Vanishing(Local):
    """Gone after the trial and three blocks."""

    def run(self, program, *arguments):
        self.left = getattr(self, "left", 4) - 1
        if self.left < 0:
            raise DeviceLost(f"{self.name}: it does not answer any more (unplugged)")
        return super().run(program, *arguments)


@pytest.fixture
def board(monkeypatch):
    """Let every device be of that class."""

    def use(kind):
        monkeypatch.setattr("qcompile.commands.placed.open_device", lambda *_: kind("board"))

    return use


def test_lists_devices(cli):
    code, out, err = cli("devices")
    assert (code, err) == (0, "")
    assert re.search(r"^local +yes +\S", out, flags=re.MULTILINE)
    for name in ("qemu", "adb:", "ssh://user@host", "rpc://tracker:port/key"):
        assert name in out


def test_tries_a_device(cli):
    code, out, err = cli("devices", "local")
    assert (code, err) == (0, "") and re.search(r"a trial program: runs\n", out)


def test_says_which_devices_there_are(cli, tmp_path):
    bundle = write_bundle(tmp_path / "net")
    for command in (("devices",), ("bench", bundle, "--device")):
        code, out, err = cli(*command, "board")
        assert (code, out) == (1, "") and "no device 'board'; devices are local, sim, qemu" in err


def test_labels_emulated_times(cli, tmp_path, board):
    board(Emulated)
    command = ("bench", write_bundle(tmp_path / "net"), "--device", "qemu", "--repeat", 4)
    code, out, _ = cli(*command, "--per-layer")
    assert code == 0 and "1 thread, on qemu\n" in out
    assert "emulated: these times say nothing about the speed of any processor" in out
    assert "emulated ms" in out and "emulated us" in out
    assert "GMAC/s" not in out and "predicted" not in out
    answer = json.loads(cli(*command, "--json", "-")[1])
    assert answer["emulated"] is True and answer["device"] == "qemu"


def test_shows_what_was_measured_before_the_device_was_lost(cli, tmp_path, board):
    board(Vanishing)
    file = tmp_path / "bench.json"
    command = ("bench", write_bundle(tmp_path / "net"), "--device", "board", "--json", file)
    code, out, err = cli(*command, "--repeat", 70)
    assert code == 1 and re.search(r"qcompile \S+ +1\.000 .* 30\n", out)
    told = "board: it does not answer any more (unplugged); what is told was measured in 3 rounds"
    assert err == f"qcompile: {told} before\n"
    assert json.loads(file.read_text())["lost"] == f"{told} before"


def test_warns_when_the_processor_slows_down(cli, tmp_path):
    folder = write_bundle(tmp_path / "net")
    slower = """#!/usr/bin/env python3
import json, pathlib
calls = pathlib.Path("calls")
number = len(calls.read_text()) if calls.exists() else 0
calls.write_text("x" * (number + 1))
print(json.dumps({"seconds": [0.001 * (1 + 0.05 * number)]}))
"""
    (folder / "bin" / "net_bench").write_text(slower)
    code, out, _ = cli("bench", folder, "--repeat", 7)
    # The trial is call 0, so rounds 1 to 3 have a median of 1.1 ms, rounds 5 to 7 one of 1.3 ms.
    assert code == 0 and "warning: the last rounds took 1.18 times as long as the first" in out


def test_peers_stay_on_this_machine(cli, tmp_path, board):
    board(Local)
    peer = ("--against", "onnxruntime", "--model", "m.onnx", "--device", "ssh://board")
    code, _, err = cli("bench", write_bundle(tmp_path / "net"), *peer)
    assert code == 1 and "onnxruntime: peers run on this machine, not on ssh://board" in err
