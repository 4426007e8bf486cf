"""A board that runs TVM's RPC server, with a tracker of the test's own."""

from pathlib import Path

import numpy as np
import pytest
from boards import free_port
from farms import Farm

from qcompile import bench, run
from qcompile.commands import samples_on_device
from qcompile.devices import open_device
from qcompile.devices.preflight import expect_success
from qcompile.errors import BundleError, DeviceError, DeviceLost

pytest.importorskip("tornado", reason="TVM's tracker needs tornado")
pytestmark = pytest.mark.device


@pytest.fixture(scope="module")
def farm(tmp_path_factory):
    found = Farm(tmp_path_factory.mktemp("farm"))
    yield found
    found.unplug()


@pytest.fixture
def frail_farm(tmp_path):
    """One that a test unplugs."""
    found = Farm(tmp_path)
    yield found
    found.unplug()


def test_runs_and_measures_one_after_the_other(farm, sums, samples):
    file, expected = samples
    found = run(sums, file, device=f"{farm.address}/board")
    for name, array in expected.items():
        np.testing.assert_array_equal(found.outputs[name], array)
    measured = bench(sums, device=f"{farm.address}/board", repeat=8)
    assert measured.latencies[0].inferences >= 8 and not measured.emulated


def test_takes_files_and_runs_scripts(farm):
    with open_device(f"{farm.address}/board") as device:
        device.send("x y", b"\0\1\xff" * 1000)
        assert device.fetch("x y") == b"\0\1\xff" * 1000
        done = device.shell("echo out; echo err >&2; exit 3")
        assert (done.code, done.output, done.messages) == (3, "out\n", "err\n")
        assert device.shell("true").output == ""
        device.send("dying", b"#!/bin/sh\nkill -ILL $$\n", executable=True)
        with pytest.raises(BundleError, match="instruction that this processor lacks"):
            expect_success("it", device.run("dying"))
        with pytest.raises(DeviceError, match="nothing cannot be read"):
            device.fetch("nothing")
        place = Path(device.folder)
        assert place.exists()
    assert open_device(f"{farm.address}/board").folder != str(place)
    assert not place.exists()  # the server removes it before it serves again


def test_keeps_the_outputs_of_a_board_that_disappears(
    frail_farm, sums, samples, tmp_path, monkeypatch
):
    farm, (file, expected) = frail_farm, samples
    monkeypatch.setattr(samples_on_device, "CALL_S", 0.0)  # each batch in a call of its own

    def unplug(stage, done=0, total=0):
        if done >= 2:
            farm.unplug()

    with pytest.raises(DeviceLost, match=r"does not answer any more .*2 of 7 samples were done"):
        run(
            sums,
            file,
            outputs=tmp_path / "out.npz",
            device=f"{farm.address}/board",
            progress=unplug,
        )
    kept = np.load(tmp_path / "out.partial.npz")
    np.testing.assert_array_equal(kept["sum"], expected["sum"][:2])


def test_tells_that_there_is_no_such_board(farm):
    with pytest.raises(DeviceError, match=r"knows no board 'other' \(it knows: board\)"):
        open_device(f"{farm.address}/other")


def test_tells_that_there_is_no_tracker():
    with pytest.raises(DeviceError, match="no tracker answers there"):
        open_device(f"rpc://127.0.0.1:{free_port()}/board")


@pytest.mark.parametrize(
    "name",
    ["rpc://", "rpc://host/key", "rpc://host:1", "rpc://host:1/", f"rpc://localhost:{10**30}/key"],
)
def test_tells_a_wrong_address(name):
    with pytest.raises(DeviceError, match="expected rpc://host:port/key"):
        open_device(name)
