"""Networks compiled for boards: simulated, they give the bytes of x86; what their papers tell."""

import json
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from vta_onnx import NETWORKS

import qcompile
from qcompile.cli import main
from qcompile.commands.sim_bench import sim_bench
from qcompile.errors import Unsupported
from qcompile.targets.loader import FOLDER as TARGETS
from qcompile.targets.vta.config import Config
from qcompile.targets.vta.encoding import decode
from qcompile.targets.vta.functional import run
from qcompile.targets.vta.lint import lint

SAMPLES = 6


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """Every network for vta-pynq."""
    work = tmp_path_factory.mktemp("boards")
    for name, write in NETWORKS.items():
        qcompile.compile(write(work), "vta-pynq", work / name)
    return {name: work / name for name in NETWORKS}


def inputs(name: str, folder: Path) -> dict[str, np.ndarray]:
    (spec,) = qcompile.load(folder).inputs
    rng = np.random.default_rng(len(name))
    return {"x": rng.uniform(-2, 2, (SAMPLES * spec.shape[0], *spec.shape[1:])).astype("float32")}


@pytest.mark.parametrize("name", NETWORKS)
def test_simulates_the_integers_of_the_processor(folders, tmp_path, name):
    model = folders[name].parent / f"{name}.onnx"
    qcompile.compile(model, "x86-64-v3", tmp_path / "x86", scales="power-of-two")
    samples = inputs(name, folders[name])
    expected = qcompile.load(tmp_path / "x86").run_batches(samples)
    found = qcompile.load(folders[name]).run_batches(samples)
    assert found.keys() == expected.keys()
    for output in expected:
        assert len(np.unique(expected[output])) > 4
        np.testing.assert_array_equal(found[output], expected[output])


@pytest.mark.parametrize("name", ["residual", "depthwise"])
def test_shifts_and_adds_as_the_processor_does(folders, tmp_path, name):
    model = folders[name].parent / f"{name}.onnx"
    for target in ("vta-pynq", "x86-64-v3"):
        qcompile.compile(model, target, tmp_path / target, scales="shift-add")
    found, expected = (qcompile.load(tmp_path / target) for target in ("vta-pynq", "x86-64-v3"))
    samples = inputs(name, folders[name])
    for output, values in expected.run_batches(samples).items():
        assert len(np.unique(values)) > 4
        np.testing.assert_array_equal(found.run_batches(samples)[output], values)
    report = json.loads((tmp_path / "vta-pynq" / "report.json").read_text())
    layers = [layer for layer in report["power_of_two"] if layer["op"] in ("conv2d", "dense")]
    assert {layer["powers"] for layer in layers} == {3}
    assert all(0 < layer["error"] <= layer["largest_error"] <= 0.067 for layer in layers)
    assert report["vta"]["host_layers"] == []
    for segment in found.segments:
        program = segment.segment
        assert list(lint(program.config, program.decoded(), program.image_array())) == []


def test_the_processor_can_multiply_the_sums_of_vta(folders, tmp_path):
    """With the model's own scales int32 sums leave VTA, and nothing is rounded otherwise."""
    model = folders["residual"].parent / "residual.onnx"
    for target in ("vta-pynq", "x86-64-v3"):
        qcompile.compile(model, target, tmp_path / target, scales="exact")
    found, expected = (qcompile.load(tmp_path / name) for name in ("vta-pynq", "x86-64-v3"))
    tensors = [tensor for part in found.segments for tensor in part.segment.tensors]
    assert "sums" in {tensor.dtype for tensor in tensors if tensor.role == "output"}
    samples = inputs("residual", folders["residual"])
    for name, values in expected.run_batches(samples).items():
        np.testing.assert_array_equal(found.run_batches(samples)[name], values)


def test_takes_codes(folders, tmp_path):
    model = folders["residual"].parent / "residual.onnx"
    for target in ("vta-pynq", "x86-64-v3"):
        qcompile.compile(model, target, tmp_path / target, scales="power-of-two", quantized_io=True)
    found, expected = (qcompile.load(tmp_path / name) for name in ("vta-pynq", "x86-64-v3"))
    spec = found.inputs[0]
    x = np.random.default_rng(5).integers(0, 256, spec.shape, dtype=spec.dtype)
    np.testing.assert_array_equal(found(x), expected(x))


@pytest.mark.parametrize("name", NETWORKS)
def test_programs_are_portable(folders, name):
    for segment in qcompile.load(folders[name]).segments:
        program = segment.segment
        assert list(lint(program.config, program.decoded(), program.image_array())) == []


def test_bundles_tell_which_layers_are_where(folders):
    manifest = json.loads((folders["through"] / "manifest.json").read_text())
    told = manifest["vta"]["segments"]
    assert [part["folder"].split("/")[1][:3] for part in told] == ["00_", "01_"]
    assert [part["cycles"] for part in told] == [
        part.cycles for part in sim_bench(folders["through"]).segments
    ]
    kernels = {layer["name"]: layer["kernel"] for layer in manifest["layers"]}
    layers = {layer for part in told for layer in part["layers"]}
    assert set(kernels) <= layers
    assert set(kernels.values()) == {"vta"}
    assert (manifest["target"], manifest["architecture"]) == ("vta-pynq", "armv7")
    for part in told:
        assert {f"{part['folder']}/{file}" for file in ("insn.bin", "dram.bin")} <= set(
            manifest["files"]
        )


def test_reports_tell_scales_and_cycles(folders):
    report = json.loads((folders["residual"] / "report.json").read_text())
    found = report["vta"]
    assert found["simulated_cycles"] == sum(part["cycles"] for part in found["segments"])
    for part in found["segments"]:
        assert part["cycles"] == sum(layer["cycles"] for layer in part["layers"])
    shifts = {layer["layer"]: layer["shift"] for layer in report["power_of_two"]}
    for layer in report["layers"]:
        assert shifts[layer["name"]]
        assert all(0 < shift <= 15 for shift in shifts[layer["name"]])


def test_dumps_every_segment_of_the_first_sample(folders, tmp_path):
    samples = inputs("through", folders["through"])
    np.savez(tmp_path / "in.npz", **samples)
    dumped = tmp_path / "dump"
    command = ["run", folders["through"], "--inputs", tmp_path / "in.npz", "--device", "sim"]
    assert main([*map(str, command), "--dump-vta", str(dumped)]) == 0
    parts = sorted(dumped.iterdir())
    assert len(parts) == 2
    for part in parts:
        config = Config.from_json(json.loads((part / "vta_config.json").read_text()))
        image = np.fromfile(part / "dram.bin", "uint8")
        before = image.copy()
        run(config, decode(config, (part / "insn.bin").read_bytes()), image)
        assert image.tobytes() == (part / "expected.bin").read_bytes()
        assert (image != before).any()


def test_compile_prints_cycles_and_never_calls_them_measured(folders, tmp_path, capfd):
    model = folders["residual"].parent / "residual.onnx"
    command = ["compile", model, "--target", "vta-ultra96", "-o", tmp_path / "ultra"]
    assert main([str(word) for word in command]) == 0
    told = capfd.readouterr().out
    assert "simulated cycles" in told
    assert "at 333 MHz" in told
    assert "measured" not in told


def test_refuses_variants(folders, tmp_path):
    other = tmp_path / "variants.json"
    model = folders["residual"].parent / "residual.onnx"
    other.write_text(json.dumps({"variants": {"other": {"model": str(model)}}}))
    with pytest.raises(Unsupported, match="--variants"):
        qcompile.compile(model, "vta-pynq", tmp_path / "out", variants=other)
    assert not (tmp_path / "out").exists()


def test_refuses_a_network_without_a_layer_for_vta(tmp_path):
    from qcompile.commands.demo import NETWORKS as DEMO

    float_model = Path(qcompile.__file__).parent / "demo_data" / DEMO["fp32"]
    with pytest.raises(Unsupported, match="can compute no layer of this model"):
        qcompile.compile(float_model, "vta-pynq", tmp_path / "out", batch=1)
    assert not (tmp_path / "out").exists()


CONFIGURATIONS = {
    "i4w4": {
        "LOG_INP_WIDTH": 2,
        "LOG_WGT_WIDTH": 2,
        "LOG_INP_BUFF_SIZE": 14,
        "LOG_WGT_BUFF_SIZE": 17,
    },
    "batch of two": {"LOG_BATCH": 1, "LOG_INP_BUFF_SIZE": 16, "LOG_ACC_BUFF_SIZE": 18},
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_other_configurations_give_the_same_bytes(folders, tmp_path, name):
    """A board of the user's whose operands are narrower than the codes, or come in pairs."""
    board = tomllib.loads((TARGETS / "vta-pynq.toml").read_text())
    config = board["vta"] | CONFIGURATIONS[name]
    text = (TARGETS / "vta-pynq.toml").read_text().replace("xc7z020", "xczu7ev")  # holds all
    for key, value in config.items():
        text = text.replace(f"{key} = {board['vta'][key]}", f"{key} = {value}")
    (tmp_path / "board.toml").write_text(text)
    model = folders["residual"].parent / "residual.onnx"
    qcompile.compile(model, str(tmp_path / "board.toml"), tmp_path / "out")
    found, expected = qcompile.load(tmp_path / "out"), qcompile.load(folders["residual"])
    assert found.segments[0].segment.config == Config.from_json(config)
    samples = inputs("residual", folders["residual"])
    for output, values in expected.run_batches(samples).items():
        np.testing.assert_array_equal(found.run_batches(samples)[output], values)


def test_runs_from_several_threads_at_once(folders):
    network = qcompile.load(folders["residual"], threads=2)
    x = inputs("residual", folders["residual"])["x"]
    expected = [network(sample[None]) for sample in x]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda sample: network(sample[None]), x))
    np.testing.assert_array_equal(found, expected)
