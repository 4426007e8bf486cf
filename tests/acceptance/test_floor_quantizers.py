"""Floor quantizers (AdaBits): integer from the first to the last, fewer bits are the upper ones."""

import numpy as np
import onnx
import pytest
from graph import Graph

from qcompile.bundle import load
from qcompile.commands.reference import load_reference
from qcompile.compiler import compile_model
from qcompile.targets import load_target

CHANNELS, SIZE, SAMPLES, MOST = 16, 9, 6, 4
DOMAIN = "qonnx.custom_op.general"
RANGE = 4.0  # activations lie between 0 and this


class FloorNetwork:
    """Convolutions of 4 bits, or of the upper ones of the same weights.

    form: "floor", as frameworks write it, or "quant", a QONNX node. scale: of the weights.
    """

    def __init__(self, form: str, bits: int, scale: float) -> None:
        self.net = Graph("floor", seed=7)
        self.form, self.bits, self.scale = form, bits, scale

    def array(self, values) -> str:
        return self.net.constant(np.asarray(values, "float32"))

    def activation(self, x: str, bits: int) -> str:
        """min(floor(x / s), 2^k - 1) * s, s = RANGE / 2^k."""
        step = RANGE / 2**bits
        if self.form == "quant":
            operands = [self.array(value) for value in (step, 0, bits)]
            mode = {"signed": 0, "narrow": 0, "rounding_mode": "FLOOR"}
            return self.net.node("Quant", x, *operands, domain=DOMAIN, **mode)
        ratio = self.net.node("Mul", x, self.array(1 / step))
        limits = self.array(0), self.array(2**bits - 1)
        return self.net.node(
            "Mul", self.net.node("Clip", self.net.node("Floor", ratio), *limits), self.array(step)
        )

    def conv(self, x: str, bits: int, inputs: int) -> str:
        """Weights (2 floor(2^k w) + 1 - 2^k) * s of w in [0, 1), and a bias on the sums' grid."""
        codes = self.net.rng.integers(0, 2**MOST, (CHANNELS, inputs, 3, 3)) >> (MOST - bits)
        odd = self.net.constant((2 * codes + 1 - 2**bits).astype("int8"))
        step = self.array(self.scale * 2.0 ** (MOST - bits))
        weights = self.net.node("DequantizeLinear", odd, step)
        bias = self.array(self.net.rng.integers(-8, 8, CHANNELS) * self.scale)
        return self.net.node("Conv", x, weights, bias, pads=[1] * 4)

    def model(self, layers: int) -> onnx.ModelProto:
        """The first convolution has all bits: only its quantizer has fewer ones."""
        x = self.activation(self.net.input("x", [1, 3, SIZE, SIZE]), 8)
        x = self.activation(self.conv(x, MOST, 3), self.bits)
        for _ in range(layers - 1):
            x = self.activation(self.conv(x, self.bits, CHANNELS), self.bits)
        shape = [1, CHANNELS, SIZE, SIZE]
        return self.net.model({x: shape}, opsets={DOMAIN: 1} if self.form == "quant" else None)


@pytest.fixture(scope="module")
def target():
    return load_target("host")


def codes(form, bits, target, folder, *, scale=2.0**-5, layers=1):
    """The codes that a network and its reference give, and what became of its layers."""
    model = folder / f"{form}_{bits}.onnx"
    onnx.save(FloorNetwork(form, bits, scale).model(layers), model)
    analysis = compile_model(model, target, output=folder / "bundle").analysis
    ours, theirs = load(folder / "bundle", threads=1), load_reference(model)
    rng, unit = np.random.default_rng(0), RANGE / 2**bits
    found, expected = [], []
    for _ in range(SAMPLES):
        x = rng.uniform(0, RANGE, (1, 3, SIZE, SIZE)).astype("float32")
        found.append(ours.run({"x": x})[0] / unit)
        expected.append(theirs({"x": x})[0] / unit)
    return np.array(found), np.array(expected), analysis


@pytest.mark.parametrize(
    ("form", "bits"), [("floor", 1), ("quant", 1), ("floor", 2), ("quant", 3), ("floor", 4)]
)
def test_integer_from_the_first_to_the_last(form, bits, target, tmp_path):
    found, expected, analysis = codes(form, bits, target, tmp_path, layers=3)
    # What scales and clips the network's float input, if no node does it.
    outer = ["multiply", "clip"] if form == "floor" else []
    assert [operator.op for operator in analysis.float_ops] == outer
    assert all(layer.integer for layer in analysis.layers)
    assert [layer.a_bits for layer in analysis.layers] == [8, bits, bits]
    # Exact: all scales are powers of two, so that the reference's sums hold no rounding.
    np.testing.assert_array_equal(found, expected)
    assert len(np.unique(found)) == 2**bits


def test_fewer_bits_are_the_upper_ones(target, tmp_path):
    scale = 0.0291  # none that keeps float32 free of rounding
    full, _, _ = codes("quant", MOST, target, tmp_path, scale=scale)
    full = full.astype("int64")
    assert len(np.unique(full)) == 2**MOST
    for bits in range(1, MOST):
        found, _, _ = codes("quant", bits, target, tmp_path, scale=scale)
        np.testing.assert_array_equal(found, full >> (MOST - bits))
