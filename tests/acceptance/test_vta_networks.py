"""Trained networks on simulated VTA: the bytes of the processor with the same powers of two."""

import json

import numpy as np
import pytest
from labelled import LABELLED

import qcompile
from qcompile.targets.loader import FOLDER as TARGETS
from qcompile.targets.vta.lint import lint

pytestmark = pytest.mark.shared
BOARD, PROCESSOR = "vta-pynq", "x86-64-v3"
CLOCK = "clock_hz = 100e6"
NETWORKS = (
    "resnet8_int8_qdq",
    "fmnist_cnn_w4a4_qonnx",
    "fmnist_cnn_w2a2_qonnx",
    "tfc_1w2a_qonnx",
)
FEW, MANY = 12, 200


@pytest.fixture(scope="module")
def bundles(shared, tmp_path_factory):
    """Compile a network once for the board and once for the processor.

    The board has such a clock that no processor is sooner done with any layer.
    """
    folder = tmp_path_factory.mktemp("vta")
    text = (TARGETS / f"{BOARD}.toml").read_text()
    assert CLOCK in text
    (folder / "fast.toml").write_text(text.replace(CLOCK, "clock_hz = 1e13"))

    def compiled(name):
        board, processor = folder / name, folder / f"{name}_x86"
        if not board.exists():
            model = LABELLED[name].model(shared)
            qcompile.compile(model, str(folder / "fast.toml"), board, batch=1)
            qcompile.compile(model, PROCESSOR, processor, batch=1, scales="power-of-two")
        return board, processor

    return compiled


def assert_same(bundles, shared, name, count):
    board, processor = (qcompile.load(folder) for folder in bundles(name))
    images, _ = LABELLED[name].samples(shared)
    samples = {board.inputs[0].name: images[:count]}
    expected = processor.run_batches(samples)
    found = board.run_batches(samples)
    for output in expected:
        assert len(np.unique(expected[output])) > 10
        np.testing.assert_array_equal(found[output], expected[output])


@pytest.mark.parametrize("name", NETWORKS)
def test_simulates_the_bytes_of_the_processor(bundles, shared, name):
    assert_same(bundles, shared, name, FEW)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_simulates_the_bytes_of_many_samples(bundles, shared, name):
    assert_same(bundles, shared, name, MANY)


@pytest.mark.parametrize(
    ("scales", "name"),
    [
        ("shift-add", "resnet8_int8_qdq"),
        ("shift-add", "fmnist_cnn_w4a4_qonnx"),
        ("exact", "resnet8_int8_qdq"),
        ("exact", "tfc_1w2a_qonnx"),
    ],
)
def test_other_scales_are_the_processors(shared, tmp_path, scales, name):
    model, (images, _) = LABELLED[name].model(shared), LABELLED[name].samples(shared)
    scores = []
    for target in (BOARD, PROCESSOR):
        qcompile.compile(model, target, tmp_path / target, batch=1, scales=scales)
        bundle = qcompile.load(tmp_path / target)
        scores += bundle.run_batches({bundle.inputs[0].name: images[:FEW]}).values()
    assert len(np.unique(scores[0])) > 10
    np.testing.assert_array_equal(*scores)


@pytest.mark.parametrize("name", NETWORKS)
def test_programs_are_portable(bundles, name):
    for simulated in qcompile.load(bundles(name)[0]).segments:
        program = simulated.segment
        assert list(lint(program.config, program.decoded(), program.image_array())) == []


@pytest.mark.parametrize("name", NETWORKS)
def test_every_convolution_and_product_is_on_vta(bundles, name):
    manifest = json.loads((bundles(name)[0] / "manifest.json").read_text())
    assert {layer["kernel"] for layer in manifest["layers"]} == {"vta"}


def test_a_board_shares_the_work_and_tells_why(shared, tmp_path):
    qcompile.compile(LABELLED["resnet8_int8_qdq"].model(shared), BOARD, tmp_path / "out", batch=1)
    layers = json.loads((tmp_path / "out" / "manifest.json").read_text())["layers"]
    report = json.loads((tmp_path / "out" / "report.json").read_text())["vta"]
    on_vta = [layer["macs"] for layer in layers if layer["kernel"] == "vta"]
    assert sum(on_vta) > 0.9 * sum(layer["macs"] for layer in layers)
    reasons = {layer["name"]: layer["reason"] for layer in report["host_layers"]}
    assert set(reasons) == {layer["name"] for layer in layers if layer["kernel"] != "vta"}
    assert set(reasons.values()) <= {"the processor is sooner done with it"}
