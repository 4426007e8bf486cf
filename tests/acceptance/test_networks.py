"""Networks of the kinds people deploy: float, int8 by onnxruntime's quantizers, unsupported."""

import numpy as np
import onnx
import pytest
from layerwise import compare_layers
from quantized import quantize_int8, random_inputs

from qcompile.bundle import load
from qcompile.commands.reference import load_reference
from qcompile.compiler import compile_model
from qcompile.errors import Unsupported
from qcompile.targets import load_target
from tests.acceptance.networks import NETWORKS, lstm

pytest.importorskip("onnxruntime")
CALIBRATION_SAMPLES = 4
FLOAT_ERROR = 1e-5  # of an output's range


@pytest.fixture(scope="module")
def target():
    return load_target("host")


def write(network, folder):
    path = folder / f"{network.__name__}.onnx"
    onnx.save(network(), path)
    return path, random_inputs(path, CALIBRATION_SAMPLES + 1, seed=0)


def assert_agrees(model, inputs, target, folder, error):
    """The outputs differ from onnxruntime's by at most `error` of their range."""
    compile_model(model, target, output=folder / "bundle")
    ours = load(folder / "bundle", threads=1).run(inputs)
    for result, expected in zip(ours, load_reference(model)(inputs), strict=True):
        assert result.shape == expected.shape
        np.testing.assert_allclose(result, expected, rtol=0, atol=error * np.ptp(expected))


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_float(network, target, tmp_path):
    model, inputs = write(network, tmp_path)
    assert_agrees(model, inputs[0], target, tmp_path, FLOAT_ERROR)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_int8(network, target, tmp_path):
    model, inputs = write(network, tmp_path)
    quantized = tmp_path / "int8.onnx"
    quantize_int8(model, quantized, inputs[1:])
    layers = compare_layers(quantized, inputs[:1], target, tmp_path)

    assert [layer for layer in layers if not layer.agrees] == []
    # As a whole, where a flipped tie of one layer reaches the output.
    assert_agrees(quantized, inputs[0], target, tmp_path, error=0.05)


def test_recurrent_networks_are_refused(target, tmp_path):
    onnx.save(lstm(), tmp_path / "lstm.onnx")
    with pytest.raises(Unsupported, match="recurrent"):
        compile_model(tmp_path / "lstm.onnx", target, output=tmp_path / "bundle")
