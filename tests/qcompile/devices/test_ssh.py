"""A board by ssh: what runs there, what is left there, and every way that it can fail."""

import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from qcompile import bench, run
from qcompile.commands import samples_on_device
from qcompile.devices import open_device
from qcompile.errors import BundleError, DeviceError, DeviceLost

pytestmark = pytest.mark.device


def test_runs_samples(board, sums, samples, tmp_path):
    file, expected = samples
    found = run(sums, file, outputs=tmp_path / "out.npz", device=board.address, threads=2)
    assert list(found.outputs) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found.outputs[name], array)
        np.testing.assert_array_equal(np.load(tmp_path / "out.npz")[name], array)


def test_measures(board, sums):
    found = bench(sums, device=board.address, repeat=8, per_layer=True)
    assert found.device == board.address and not found.emulated and found.lost is None
    assert found.latencies[0].inferences >= 8 and 0 < found.latencies[0].median_s < 0.1
    assert len(found.layers) > 0


def test_leaves_nothing_behind(board):
    with open_device(board.address) as device:
        device.send("a file", b"\0\1\xff\r\n" * 1000)
        assert device.fetch("a file") == b"\0\1\xff\r\n" * 1000
        place = device.shell("pwd").output.strip()
        assert Path(place, "a file").stat().st_mode & 0o777 == 0o600
        assert Path(place).stat().st_mode & 0o777 == 0o700
        socket = device._control
    assert not Path(place).exists() and not socket.exists()


def test_devices_work_side_by_side(board):
    with open_device(board.address) as one, open_device(board.address) as two:
        one.send("x", b"1")
        two.send("x", b"2")
        assert (one.fetch("x"), two.fetch("x")) == (b"1", b"2")


def test_what_the_login_shell_prints_is_no_answer(board):
    talking = board.folder / "talking"
    talking.write_text('#!/bin/sh\necho welcome\nexec sh -c "$SSH_ORIGINAL_COMMAND"\n')
    talking.chmod(0o755)
    board.restart(f"ForceCommand {talking}\n")
    with open_device(board.address) as device:
        assert "welcome" not in device.processor().machine
        device.send("x", b"abc")
        assert device.fetch("x") == b"abc"
        assert device.shell("echo hello; exit 3").output == "hello\n"


def test_an_illegal_instruction_is_told(board):
    from qcompile.devices.preflight import expect_success

    with open_device(board.address) as device:
        device.send("dying", b"#!/bin/sh\nkill -ILL $$\n", executable=True)
        with pytest.raises(BundleError, match=r"^it: .*instruction that this processor lacks"):
            expect_success("it", device.run("dying"))


def test_tells_a_wrong_key(board):
    board.use("other_key")
    with pytest.raises(DeviceError, match=r"takes none of your keys: `ssh-copy-id -p \d+ \w+@127"):
        open_device(board.address)


def test_tells_a_wrong_host_key(board):
    board.know("other_key")
    known = rf"'\[127.0.0.1\]:{board.address.rpartition(':')[2]}'"
    message = f"host key is unknown or has changed.*`ssh-keygen -R {known}` first"
    with pytest.raises(DeviceError, match=message):
        open_device(board.address)


def test_tells_that_nothing_listens(board):
    board.unplug()
    with pytest.raises(DeviceError, match="runs no ssh server on that port"):
        open_device(board.address)


def test_tells_that_there_is_no_such_host(board):
    with pytest.raises(DeviceError, match=r"there is no host nowhere.invalid"):
        open_device("ssh://nowhere.invalid")


@pytest.mark.parametrize(
    "name",
    ["ssh://", "ssh:board", "ssh://-oProxyCommand=x", "ssh://-oProxyCommand=x@board", "ssh://a:b"],
)
def test_tells_a_wrong_address(name):
    with pytest.raises(DeviceError, match="expected ssh://user@host"):
        open_device(name)


def test_tells_that_there_is_no_client(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match=r"no ssh on this machine; `apt-get install openssh-c"):
        open_device("ssh://somewhere")


def test_keeps_the_outputs_of_a_board_that_disappears(board, sums, samples, tmp_path, monkeypatch):
    file, expected = samples
    monkeypatch.setattr(samples_on_device, "CALL_S", 0.0)  # each batch in a call of its own

    def unplug(stage, done=0, total=0):
        if done >= 4:
            board.unplug()

    message = r"4 of 7 samples were done: their outputs are in .*out\.partial\.npz"
    with pytest.raises(DeviceLost, match=message):
        run(sums, file, outputs=tmp_path / "out.npz", device=board.address, progress=unplug)
    assert not (tmp_path / "out.npz").exists()
    kept = np.load(tmp_path / "out.partial.npz")
    for name, array in expected.items():
        np.testing.assert_array_equal(kept[name], array[:4])


def test_keeps_the_rounds_of_a_board_that_disappears(board, sums):
    def unplug(stage, done=0, total=0):
        if done == 3:
            board.unplug()

    found = bench(sums, device=board.address, repeat=70, progress=unplug)
    assert found.latencies[0].inferences == 30
    assert board.address in found.lost and "3 rounds" in found.lost


def test_an_interrupted_program_ends(board, tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt), open_device(board.address) as device:
            signal.setitimer(signal.ITIMER_REAL, 1.0)
            device.shell(f"sh -c 'echo $$ > {tmp_path}/pid; exec sleep 60'")
    finally:
        signal.signal(signal.SIGALRM, before)
    status = Path("/proc", (tmp_path / "pid").read_text().strip(), "status")
    deadline_s = time.monotonic() + 10
    while runs := status.exists() and "(zombie)" not in status.read_text():
        if time.monotonic() > deadline_s:
            break
        time.sleep(0.05)
    assert not runs


def test_tells_that_the_folder_is_gone(board):
    with open_device(board.address) as device:
        shutil.rmtree(device.folder)
        with pytest.raises(DeviceLost, match="its folder is gone; was it restarted"):
            device.shell("true")
        with pytest.raises(DeviceError, match="x cannot be written"):
            device.send("x", b"1")
