"""Layers around convolutions that onnxruntime's quantizer leaves between codes: all integer."""

import numpy as np
import onnx
import pytest
from graph import Graph
from quantized import quantize_int8, random_inputs

from qcompile.bundle import load
from qcompile.compiler import analyze, compile_model
from qcompile.layerwise import compare_layers
from qcompile.targets import load_target
from tests.acceptance.networks import audio
from tests.passes import references

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def target():
    return load_target("host")


def batch_norm(net, x, channels):
    scale, variance = (
        net.constant(net.rng.uniform(0.5, 1.5, channels).astype("float32")) for _ in range(2)
    )
    mean = net.bias(channels)
    return net.node("BatchNormalization", x, scale, net.bias(channels), mean, variance)


def average_without_pads():
    net = Graph("average_without_pads", 1)
    x = net.node("Relu", net.conv(net.input("x", [1, 8, 9, 9]), 8, 16, 3))
    window = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4}
    x = net.node("AveragePool", x, count_include_pad=0, **window)
    return net.model({net.node("Relu", net.conv(x, 16, 16, 3)): [1, 16, 5, 5]})


def average_of_signals():
    net = Graph("average_of_signals", 2)
    x = batch_norm(net, net.input("x", [1, 8, 30]), 8)
    x = net.node("AveragePool", x, kernel_shape=[4], strides=[3], pads=[1, 2])
    x = net.node("Flatten", net.node("GlobalAveragePool", x))
    return net.model({net.gemm(x, 8, 5): [1, 5]})


def global_average_first():
    net = Graph("global_average_first", 3)
    x = net.node("GlobalAveragePool", net.input("x", [2, 16, 6, 7]))
    return net.model({net.gemm(net.node("Flatten", x), 16, 5): [2, 5]})


def pre_activation():
    """Batch normalization of codes that convolutions read, too."""
    net = Graph("pre_activation", 4)
    x = net.conv(net.input("x", [2, 3, 20, 20]), 3, 12, 3, stride=2)
    y = net.node("Relu", batch_norm(net, x, 12))
    x = net.node("Concat", x, net.conv(y, 12, 8, 3), axis=1)
    return net.model({net.conv(batch_norm(net, x, 20), 20, 8, 3): [2, 8, 10, 10]})


NETWORKS = (average_without_pads, average_of_signals, global_average_first, pre_activation)


@pytest.mark.parametrize("network", NETWORKS)
def test_no_operator_stays_float(network, target, tmp_path):
    model, quantized = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    onnx.save(network(), model)
    inputs = random_inputs(model, 5, seed=0)
    quantize_int8(model, quantized, inputs[1:])
    assert analyze(quantized, target).float_ops == ()
    layers = compare_layers(quantized, inputs[:1], target, tmp_path)
    assert [layer for layer in layers if not layer.agrees] == []


POOLS = {
    "QLinearAveragePool": {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4},
    "QLinearGlobalAveragePool": {"channels_last": 0},
}


@pytest.mark.parametrize("operator", POOLS)
def test_pools_of_codes_are_integer(operator, target, tmp_path):
    """Without a convolution before, so of codes whose channels come first."""
    net, model = Graph("pool"), tmp_path / "pool.onnx"
    x = net.input("x", [2, 5, 7, 7], "uint8")
    steps = [
        name
        for scale, zero in ((0.02, 131), (0.015, 120))
        for name in (net.scalar(scale), net.constant(np.array(zero, "uint8")))
    ]
    y = net.node(operator, x, *steps, domain="com.microsoft", **POOLS[operator])
    size = 1 if "Global" in operator else 4
    opsets = {"com.microsoft": 1}
    onnx.save(net.model({y: [2, 5, size, size]}, dtype="uint8", opsets=opsets), model)

    result = compile_model(model, target, output=tmp_path / "bundle")
    assert result.analysis.float_ops == ()
    codes = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 7), dtype="uint8")
    (ours,) = load(tmp_path / "bundle", threads=1).run({"x": codes})
    np.testing.assert_array_equal(ours, averages(codes, size))


def averages(codes, size):
    """Over the whole image, or over what of a window of 3 x 3 lies inside."""
    centred, scale, step = codes.astype("int64") - 131, np.float32(0.02), float(np.float32(0.015))
    if size == 1:
        sums, factor = centred.sum((2, 3), keepdims=True), float(np.float32(float(scale) / 49))
    else:
        kept = (sliding(plane)[:, :, ::2, ::2] for plane in (centred, np.ones_like(centred)))
        sums, counts = (windows.sum((4, 5)) for windows in kept)
        factor = float(scale) * np.float32(1 / counts).astype("float64")
    ratio = np.float32(factor / step)
    return references.requantized(sums, ratio, 120, 0, 255)


def sliding(plane):
    padded = np.pad(plane, ((0, 0), (0, 0), (1, 1), (1, 1)))
    return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))


def test_signals_are_integer_up_to_the_softmax(target, tmp_path):
    model, quantized = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    onnx.save(audio(), model)
    quantize_int8(model, quantized, random_inputs(model, 4, seed=0))
    assert [found.op for found in analyze(quantized, target).float_ops] == ["log_softmax"]


def test_batch_norms_behind_signals_are_folded(target, tmp_path):
    onnx.save(audio(), tmp_path / "float.onnx")
    found = [operator.op for operator in analyze(tmp_path / "float.onnx", target).float_ops]
    assert found.count("Conv") == 4
    assert found.count("multiply") == 1  # of Elu: alpha * (exp(x) - 1)
