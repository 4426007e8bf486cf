"""Planned layers of sums on the functional simulator are the formula's integers."""

import numpy as np
import pytest
from vta_layers import reference, simulated

from qcompile.targets.vta.config import DEFAULT
from qcompile.targets.vta.layers import Segment, Source, Sums, VtaTensor
from qcompile.targets.vta.planner import plan_segment

PORT_BYTES = 8


def conv(rng, image, channels, outputs, kernel=3, strides=(1, 1), padding=(1, 1, 1, 1), zero=0):
    """A segment of one convolution. image: (height, width)."""
    x = VtaTensor("x", (1, *image, channels), 0, -128, 127)
    weights = rng.integers(-128, 128, (outputs, kernel, kernel, channels))
    sizes = [(image[a] + padding[a] + padding[a + 2] - kernel) // strides[a] + 1 for a in (0, 1)]
    y = VtaTensor("y", (1, *sizes, outputs), 0, -128, 127)
    source = Source("x", weights, strides, padding, zero=zero)
    layer = Sums("conv", (source,), rng.integers(-5000, 5000, outputs), 9, -90, 100, y)
    return Segment("segment", (x,), ("x",), ("y",), (layer,))


def expect_exact(segment, program, rng):
    inputs = {
        tensor.name: rng.integers(tensor.low, tensor.high + 1, tensor.shape)
        for tensor in segment.tensors
    }
    expected = reference(segment, inputs)
    found = simulated(program, inputs, segment.outputs)
    assert found.keys() == set(segment.outputs)
    for name, value in found.items():
        np.testing.assert_array_equal(value, expected[name])


@pytest.mark.parametrize(
    "given",
    [
        {"image": (14, 14), "channels": 32, "outputs": 48},
        {"image": (9, 11), "channels": 20, "outputs": 37, "strides": (2, 1)},
        {"image": (13, 8), "channels": 16, "outputs": 16, "padding": (2, 0, 1, 1), "zero": 5},
        {"image": (10, 10), "channels": 64, "outputs": 80, "kernel": 1, "padding": (0, 0, 0, 0)},
    ],
)
def test_convolutions_are_exact(given):
    rng = np.random.default_rng(0)
    segment = conv(rng, **given)
    expect_exact(segment, plan_segment(segment, DEFAULT, PORT_BYTES), rng)
