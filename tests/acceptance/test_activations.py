"""Activations between a convolution and its quantizer: float32 in registers, exact to the bit."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from graph import Graph

from qcompile.bundle import load
from qcompile.compiler import compile_model
from qcompile.targets import load_target
from tests.passes import references

CHANNELS, SIZE = 16, 9
IN_SCALE, IN_ZERO = np.float32(0.03), 120
OUT_SCALE, OUT_ZERO = np.float32(0.07), 100
BIAS_LIMIT = 9000
RNG = np.random.default_rng(0)
SLOPES = RNG.uniform(-0.5, 0.5, CHANNELS).astype("float32")

F32 = np.float32
Activation = Callable[[np.ndarray], np.ndarray]
# In float32, operator by operator; x * (clip(x + 3, 0, 6) / 6) as HardSwish is defined.
ACTIVATIONS: dict[str, Activation] = {
    "LeakyRelu": lambda x: np.where(x > 0, x, x * F32(0.1)),
    "PRelu": lambda x: np.where(x > 0, x, x * SLOPES),
    "HardSwish": lambda x: x * (np.clip(x + F32(3), F32(0), F32(6)) / F32(6)),
}
# Folded into the requantization: clamps, and for HardSigmoid a factor and an offset.
CLAMPS: dict[str, tuple[float, float]] = {"Relu": (0, np.inf), "Clip": (-0.3, 0.5)}
LAYERS = {"plain": (3, 1), "pointwise": (1, 1), "depthwise": (3, CHANNELS), "grouped": (3, 4)}


@pytest.fixture(scope="module")
def target():
    return load_target("host")


def activated(net: Graph, op: str, y: str) -> str:
    if op == "PRelu":
        return net.node(op, y, net.constant(SLOPES.reshape(-1, 1, 1)))
    if op == "Clip":
        return net.node(op, y, net.scalar(-0.3), net.scalar(0.5))
    return net.node(op, y, **{"LeakyRelu": {"alpha": 0.1}}.get(op, {}))


def network(kernel: int, groups: int, weights: np.ndarray, bias: np.ndarray, scales: np.ndarray):
    """One convolution and quantizer for each activation, with the same weights."""
    net = Graph("activations")
    scale, zero = net.scalar(float(IN_SCALE)), net.constant(np.array(IN_ZERO, "uint8"))
    codes = net.input("codes", [1, CHANNELS, SIZE, SIZE], "uint8")
    x = net.node("DequantizeLinear", codes, scale, zero)
    axes = net.constant(scales), net.constant(np.zeros(CHANNELS, "int8"))
    w = net.node("DequantizeLinear", net.constant(weights), *axes, axis=0)
    sums = net.constant(IN_SCALE * scales), net.constant(np.zeros(CHANNELS, "int32"))
    b = net.node("DequantizeLinear", net.constant(bias), *sums, axis=0)
    window = {"kernel_shape": [kernel] * 2, "pads": [kernel // 2] * 4, "group": groups}
    outputs = {}
    for op in (*ACTIVATIONS, *CLAMPS, "HardSigmoid"):
        y = activated(net, op, net.node("Conv", x, w, b, name=f"conv_{op}", **window))
        step = net.scalar(float(OUT_SCALE)), net.constant(np.array(OUT_ZERO, "uint8"))
        outputs[net.node("QuantizeLinear", y, *step, name=op)] = [1, CHANNELS, SIZE, SIZE]
    return net.model(outputs, dtype="uint8")


def expected(op: str, sums: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The codes, from the exact sums (N, H, W, C) and their scale."""
    if op in ACTIVATIONS:
        real = ACTIVATIONS[op](sums.astype("float32") * scale)
        return references.codes(real, OUT_SCALE, OUT_ZERO, 0, 255)
    ratio, step = scale.astype("float64"), float(OUT_SCALE)
    if op == "HardSigmoid":
        low, high = references.codes(F32([0, 1]), OUT_SCALE, OUT_ZERO, 0, 255)
        factor = (ratio * float(F32(0.2))).astype("float32").astype("float64") / step
        offset = F32(0.5 / step)
        return references.requantized(sums, factor.astype("float32"), OUT_ZERO, low, high, offset)
    low, high = references.codes(F32(CLAMPS[op]), OUT_SCALE, OUT_ZERO, 0, 255)
    return references.requantized(sums, (ratio / step).astype("float32"), OUT_ZERO, low, high)


@pytest.mark.parametrize("layer", LAYERS)
def test_activations_are_exact_in_the_epilogue(layer, target, tmp_path):
    kernel, groups = LAYERS[layer]
    shape = (CHANNELS, CHANNELS // groups, kernel, kernel)
    weights = RNG.integers(-127, 128, shape).astype("int8")
    bias = RNG.integers(-BIAS_LIMIT, BIAS_LIMIT, CHANNELS).astype("int32")
    scales = RNG.uniform(0.002, 0.02, CHANNELS).astype("float32")
    onnx.save(network(kernel, groups, weights, bias, scales), tmp_path / "net.onnx")
    result = compile_model(tmp_path / "net.onnx", target, output=tmp_path / "bundle")
    for found in result.analysis.float_ops:
        assert "in the epilogue of conv_" in found.reason, found
    assert {found.op for found in result.analysis.float_ops} >= {"leakyrelu", "prelu"}

    x = RNG.integers(0, 256, (1, CHANNELS, SIZE, SIZE), dtype="uint8")
    centred = references.last(x.astype("int64") - IN_ZERO)
    padding = (kernel // 2,) * 4
    filters = weights.transpose(0, 2, 3, 1)
    sums = references.conv2d(centred, filters, padding=padding, groups=groups) + bias
    scale = (float(IN_SCALE) * scales.astype("float64")).astype("float32")
    ours = load(tmp_path / "bundle", threads=1).run({"codes": x})
    for op, codes in zip((*ACTIVATIONS, *CLAMPS, "HardSigmoid"), ours, strict=True):
        wanted = references.first(expected(op, sums, scale))
        assert len(np.unique(wanted)) > 4
        np.testing.assert_array_equal(codes, wanted, err_msg=op)
