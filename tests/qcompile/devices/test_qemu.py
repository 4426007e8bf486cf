"""Emulated processors: what they compute, what they lack, and that their times are no times."""

import numpy as np
import pytest
from sums import export_sums

from qcompile import bench, list_devices, run
from qcompile.commands.devices import device_facts
from qcompile.devices import open_device, qemu
from qcompile.errors import BundleError, DeviceError

pytestmark = pytest.mark.emulated


@pytest.fixture(scope="module")
def aarch64():
    return expect_emulator("aarch64")


def expect_emulator(architecture: str) -> qemu.Emulator:
    try:
        return qemu.find_emulator(architecture)
    except DeviceError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("target", ["rpi3", "rpi5", "neoverse-n2", "armv7-a9", "x86-64-v3"])
def test_gives_the_same_integers_as_numpy(target, samples, tmp_path):
    architecture = "armv7" if "v7" in target else "x86_64" if "x86" in target else "aarch64"
    expect_emulator(architecture)
    folder = export_sums(target, tmp_path / "sums")
    file, expected = samples
    found = run(folder, file, device="qemu", threads=2)
    for name, array in expected.items():
        np.testing.assert_array_equal(found.outputs[name], array)


@pytest.mark.parametrize(
    ("mcpu", "model"), [("cortex-a72", "cortex-a72"), ("neoverse-n2", "max"), (None, "max")]
)
def test_emulates_the_processor_of_the_target(aarch64, mcpu, model):
    with open_device("qemu", "aarch64", mcpu) as device:
        assert device.model == model and device.emulated


def test_refuses_what_the_processor_lacks(aarch64, samples, tmp_path):
    folder = export_sums("rpi5", tmp_path / "sums")
    with pytest.raises(DeviceError, match=r"^qemu:cortex-a53: .*lacks dotprod, which the code"):
        run(folder, samples[0], device="qemu:cortex-a53")


def test_times_are_labelled(aarch64, tmp_path):
    found = bench(export_sums("rpi4", tmp_path / "sums"), device="qemu", repeat=7)
    assert found.emulated and found.device == "qemu" and found.warnings == []


def test_tells_of_an_emulated_processor(aarch64):
    found = device_facts("qemu:cortex-a53")
    assert found.emulated and found.trial is None
    assert found.processor.features == ("neon",) and "cortex-a53" in found.processor.name
    assert {"neon", "dotprod"} <= set(device_facts("qemu:max").processor.features)


def test_tells_of_other_processors(aarch64, tmp_path):
    with pytest.raises(DeviceError, match=r"no such processor; it has .*cortex-a53"):
        open_device("qemu:cortex-a54", "aarch64")
    expect_emulator("x86_64")
    with pytest.raises(DeviceError, match="a processor of aarch64; the program is for x86_64"):
        open_device("qemu:cortex-a53", "x86_64")


def test_tells_how_to_get_an_emulator(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr(qemu, "PACKAGE", "no_such_package")
    with pytest.raises(DeviceError, match=r"no qemu-arm on this machine; `apt-get install qemu-u"):
        open_device("qemu", "armv7")
    with pytest.raises(DeviceError, match="no emulator on this machine"):
        open_device("qemu")
    entries = [entry for entry in list_devices() if entry.name == "qemu"]
    assert [entry.reachable for entry in entries] == [False] * 3


def test_tells_that_an_emulator_does_not_work(monkeypatch, tmp_path):
    (tmp_path / "qemu-aarch64").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "qemu-aarch64").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(DeviceError, match=r"/qemu-aarch64: does not work .*`apt-get install qemu"):
        open_device("qemu", "aarch64")


def test_a_bundle_for_another_processor_does_not_run_in_process(samples, tmp_path):
    from qcompile.targets import host_architecture

    here = host_architecture()
    other = "rpi4" if here is None or here.name != "aarch64" else "x86-64-v3"
    with pytest.raises(BundleError, match=r"compiled for .*: use a device, --device qemu"):
        run(export_sums(other, tmp_path / "sums"), samples[0])
