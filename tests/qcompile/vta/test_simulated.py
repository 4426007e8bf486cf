"""Bundles for VTA on the device `sim`: what they compute, write and refuse."""

import json
import shutil

import numpy as np
import pytest
from vta_modules import END, IMAGE_ADDRESS, X, Y, reference, segment

import qcompile
from qcompile.cli import main
from qcompile.errors import BundleError, DeviceError, InvalidInput, OutOfRange, OutputError
from qcompile.targets.vta import functional
from qcompile.targets.vta.config import Config
from qcompile.targets.vta.encoding import decode
from qcompile.vta.simulated import SimulatedBundle


def samples(count: int = 6) -> np.ndarray:
    return np.random.default_rng(count).integers(-128, 128, (count, 16), dtype="int8")


@pytest.fixture
def inputs(tmp_path):
    np.savez(tmp_path / "inputs.npz", x=samples())
    return tmp_path / "inputs.npz"


def test_computes_the_network(vta_bundle, inputs):
    found = qcompile.run(vta_bundle, inputs, device="sim")
    np.testing.assert_array_equal(found.outputs["output_0"], reference(samples()))


def test_loads_as_a_callable(vta_bundle):
    network = qcompile.load(vta_bundle)
    for x in samples():
        np.testing.assert_array_equal(network(x[None]), reference(x[None]))


def test_tells_what_is_in_the_bundle(vta_bundle):
    manifest = json.loads((vta_bundle / "manifest.json").read_text())
    told = manifest["vta"]
    assert told["config"] == "1x16_i8w8a32_15_15_18_17"
    assert (told["port_bits"], told["clock_hz"]) == (64, 1e8)
    (only,) = told["segments"]
    assert only["folder"] == "vta/00_dense_one"
    folder = vta_bundle / only["folder"]
    assert (folder / "insn.bin").read_bytes() == segment().instructions
    assert (folder / "dram.bin").read_bytes() == segment().image
    assert (
        Config.from_json(json.loads((folder / "vta_config.json").read_text())).name in told.values()
    )
    papers = json.loads((folder / "manifest.json").read_text())
    assert (papers["inputs"], papers["outputs"]) == (["x"], ["y"])
    assert papers["image"] == {"file": "dram.bin", "address": 0x1000, "bytes": END - 0x1000}
    assert {t["name"]: (t["address"], t["bytes"], t["shape"]) for t in papers["tensors"]} == {
        "x": (X, 16, [1, 1, 1, 16]),
        "y": (Y, 16, [1, 1, 1, 16]),
    }


def test_dumps_the_first_sample(vta_bundle, inputs, tmp_path):
    """The dumped files alone, run again, give the expected image."""
    out = tmp_path / "dump"
    qcompile.run(vta_bundle, inputs, device="sim", dump_vta=out)
    (folder,) = out.iterdir()
    config = Config.from_json(json.loads((folder / "vta_config.json").read_text()))
    image = np.frombuffer((folder / "dram.bin").read_bytes(), "uint8").copy()
    x = image[X - IMAGE_ADDRESS :][:16].view("int8")
    np.testing.assert_array_equal(x, samples()[0] + np.int8(1))
    functional.run(config, decode(config, (folder / "insn.bin").read_bytes()), image)
    assert image.tobytes() == (folder / "expected.bin").read_bytes()
    y = image[Y - IMAGE_ADDRESS :][:16].view("int8") - np.int8(3)
    np.testing.assert_array_equal(y, reference(samples()[:1])[0])


def test_refuses_a_dump_into_a_folder_with_files(vta_bundle, inputs, tmp_path):
    with pytest.raises(OutputError, match="is not empty"):
        qcompile.run(vta_bundle, inputs, device="sim", dump_vta=tmp_path)


def test_says_which_device_a_bundle_for_vta_needs(vta_bundle, inputs, capfd):
    assert main(["run", str(vta_bundle), "--inputs", str(inputs)]) == 1
    told = capfd.readouterr().err
    assert "compiled for vta-pynq, an FPGA with VTA" in told
    assert "use --device sim" in told
    assert told.count("\n") == 1


def test_refuses_options_without_a_use(vta_bundle, inputs, tmp_path):
    with pytest.raises(InvalidInput, match="--threads: sim simulates one inference"):
        qcompile.run(vta_bundle, inputs, device="sim", threads=2)
    with pytest.raises(InvalidInput, match="--dump-vta: is of simulations"):
        qcompile.run(vta_bundle, inputs, device="qemu", dump_vta=tmp_path / "dump")


def test_passes_on_what_the_simulator_refuses(vta_bundle):
    network = qcompile.load(vta_bundle)
    assert isinstance(network, SimulatedBundle)
    network.segments[0].image = network.segments[0].image[: Y - IMAGE_ADDRESS]
    with pytest.raises(OutOfRange):
        network(samples()[:1])


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("insn.bin", lambda data: data[:-16], "176 bytes; 11 instructions have 176|has 160 bytes"),
        ("dram.bin", lambda data: data + b"\0", "has 769 bytes"),
        ("dram.bin", lambda data: b"\1" + data[1:], "its checksum is not"),
        ("vta_config.json", lambda data: data[:-3], "damaged"),
        ("vta_config.json", lambda data: data.replace(b": 15", b": 14"), "the program is for 1x16"),
        ("manifest.json", lambda data: b"[]", "damaged"),
        ("manifest.json", lambda data: data.replace(b"4224", b"9224"), "the image ends at 0x1300"),
        ("manifest.json", lambda data: data.replace(b'"last": 9', b'"last": 99'), "of 11"),
        ("manifest.json", lambda data: data.replace(b'"x"', b'"z"', 1), "damaged"),
        ("insn.bin", lambda data: b"\7" + data[1:], "00_dense_one: "),
        ("manifest.json", None, "cannot be read"),
    ],
)
def test_refuses_damaged_segments(vta_bundle, tmp_path, file, change, message):
    folder = shutil.copytree(vta_bundle, tmp_path / "copy")
    path = folder / "vta" / "00_dense_one" / file
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change(path.read_bytes()))
    with pytest.raises(BundleError, match=message):
        qcompile.load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"segments": []}, "no segments"),
        (
            {"segments": [{"folder": "vta/nowhere", "name": "dense one"}]},
            "nowhere/.* cannot be read",
        ),
        ({"simulated": {}}, "damaged"),
        ({"simulated": {"library": "vta/sim/none.so", "workspace_bytes": 1}}, "cannot be loaded"),
    ],
)
def test_refuses_damaged_manifests(vta_bundle, tmp_path, change, message):
    folder = shutil.copytree(vta_bundle, tmp_path / "copy")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["vta"] |= change
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=message):
        qcompile.load(folder)


def test_refuses_the_simulator_for_processors(tmp_path, inputs):
    from export_for_cpu import cpu_bundle

    with pytest.raises(DeviceError, match="simulates VTA"):
        qcompile.run(cpu_bundle(tmp_path / "cpu"), inputs, device="sim")
