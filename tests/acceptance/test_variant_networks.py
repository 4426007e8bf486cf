"""Networks that share one block of weights: each is the one that it is in a bundle of its own."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import variant_networks
from variant_networks import DEPTHS, WIDTHS, adaptive, thinnable, write

from qcompile import lowering
from qcompile.bundle import load
from qcompile.cli import main
from qcompile.commands.compile import compile
from qcompile.errors import InvalidModel
from qcompile.targets import host_features, load_target
from tests.passes.test_lower_bits import BITS_ALWAYS

CHANNELS, SIZE, LAYERS = 64, 9, 2
SAMPLES = 5
# Of a block, beside its weights: factor and offset of the normalization, of all channels.
OWN_BYTES_OF_A_BLOCK = 2 * CHANNELS * 4


def save(folder: Path, networks: dict[str, onnx.ModelProto]) -> tuple[Path, Path]:
    """The first network's file and the file of the other ones."""
    for name, network in networks.items():
        onnx.save(network, folder / f"{name}.onnx")
    first, *others = networks
    listed = {name: {"model": f"{name}.onnx"} for name in others}
    (folder / "variants.json").write_text(json.dumps({"variants": listed}))
    return folder / f"{first}.onnx", folder / "variants.json"


on_host = pytest.mark.parametrize("target", ["host"], indirect=True)
on_v3 = pytest.mark.parametrize("target", ["x86-64-v3"], indirect=True)


@pytest.fixture
def target(request):
    chosen = load_target(request.param)
    if not chosen.runs_on(host_features()):
        pytest.skip(f"{request.param} needs instructions that this processor lacks")
    return chosen


def assert_equal_alone(folder: Path, names: list[str], target) -> dict[str, int]:
    """Every variant gives the bytes of its separate compilation; their bytes of weights."""
    bundle = load(folder / "build")
    rng = np.random.default_rng(0)
    samples = rng.normal(0, 1, (SAMPLES, *bundle.inputs[0].shape)).astype("float32")
    alone_bytes = {}
    for name, variant in zip(names, ["default", *names[1:]], strict=True):
        alone = compile(folder / f"{name}.onnx", target, folder / "alone", name="alone")
        network, shared = load(folder / "alone"), bundle.variant(variant)
        results = [(shared(image), network(image)) for image in samples]
        assert [s.tobytes() for s, _ in results] == [a.tobytes() for _, a in results]
        assert len({a.tobytes() for _, a in results}) == SAMPLES
        alone_bytes[name] = alone.weight_bytes
    return alone_bytes


@on_v3
def test_depths_share_the_weights_of_their_blocks(target, tmp_path):
    model, variants = save(tmp_path, {name: thinnable(name, CHANNELS, SIZE) for name in DEPTHS})
    bundle = compile(model, target, tmp_path / "build", variants=variants)
    alone = assert_equal_alone(tmp_path, list(DEPTHS), target)
    told = {variant.name: variant.weight_bytes_alone for variant in bundle.variants}
    assert told == {"default": alone["depth_8"], **{n: alone[n] for n in list(DEPTHS)[1:]}}
    # Beside the blocks' normalizations, that of the first convolution is a variant's own.
    own = {name: (len(blocks) + 1) * OWN_BYTES_OF_A_BLOCK for name, blocks in DEPTHS.items()}
    others = sum(own[name] for name in list(DEPTHS)[1:])
    assert bundle.weight_bytes == alone["depth_8"] + others


@on_host
def test_widths_share_the_upper_planes_of_their_weights(target, tmp_path, monkeypatch):
    monkeypatch.setattr(lowering, "costs_for", lambda *_: BITS_ALWAYS)
    networks = {name: adaptive(name, CHANNELS, SIZE, LAYERS, data_bits=1) for name in WIDTHS}
    model, variants = save(tmp_path, networks)
    bundle = compile(model, target, tmp_path / "build", variants=variants)
    assert [layer["kernel"] for layer in bundle.layers].count("conv2d_bits") == LAYERS
    alone = assert_equal_alone(tmp_path, list(WIDTHS), target)
    # What is constant in the sums over bits depends on the width.
    own = (LAYERS + 1) * OWN_BYTES_OF_A_BLOCK + LAYERS * CHANNELS * 4
    assert bundle.weight_bytes == alone["bits_4"] + 2 * own


@on_v3
def test_widths_run_on_the_kernels_that_are_fastest(target, tmp_path):
    networks = {name: adaptive(name, CHANNELS, SIZE, LAYERS) for name in WIDTHS}
    model, variants = save(tmp_path, networks)
    bundle = compile(model, target, tmp_path / "build", variants=variants)
    alone = assert_equal_alone(tmp_path, list(WIDTHS), target)
    # The layers' planes or bytes may differ; the first and the last layer are the same.
    assert bundle.weight_bytes < sum(alone.values())


def test_commands_take_a_variant(tmp_path, capfd):
    model, variants = write("thinnable", tmp_path)
    build = tmp_path / "build"
    options = ["--target", "x86-64-v3", "-o", str(build), "--variants", str(variants)]
    assert main(["compile", str(model), *options]) == 0
    assert "depth_1  depth_8_depth_1_run" in capfd.readouterr().out
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((3, 3, 16, 16), "float32"))
    given = [str(build), "--inputs", str(tmp_path / "x.npy")]
    expected = load(build, variant="depth_2").run_batches({"image": np.load(tmp_path / "x.npy")})
    out = tmp_path / "y.npz"
    assert main(["run", *given, "--variant", "depth_2", "--outputs", str(out)]) == 0
    (scores,) = np.load(out).values()
    np.testing.assert_array_equal(scores, *expected.values())
    assert main(["bench", str(build), "--variant", "depth_1", "--repeat", "3", "--per-layer"]) == 0
    assert "depth_8, depth_1 for x86-64-v3" in capfd.readouterr().out
    for command in (["run", *given], ["bench", str(build)]):
        assert main([*command, "--variant", "depth_3"]) == 1
        assert "no variant 'depth_3'; there are: default, depth_4" in capfd.readouterr().err


def test_the_example_runs(tmp_path, monkeypatch, capsys):
    arguments = ["variant_networks.py", "thinnable", "-o", str(tmp_path)]
    monkeypatch.setattr("sys.argv", arguments)
    variant_networks.main()
    first, *rows = capsys.readouterr().out.splitlines()
    shared, alone = (int(word) for word in first.split() if word.isdigit())
    assert shared < alone
    assert [row.split()[0] for row in rows] == ["default", *list(DEPTHS)[1:]]


def test_errors_name_the_variant(tmp_path):
    model, variants = write("thinnable", tmp_path)
    (tmp_path / "depth_2.onnx").write_bytes(b"no model")
    with pytest.raises(InvalidModel, match=r"variant 'depth_2': .*depth_2\.onnx"):
        compile(model, "x86-64-v3", tmp_path / "build", variants=variants)
    assert not (tmp_path / "build").exists()
