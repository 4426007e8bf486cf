"""Planned layers of sums on the functional simulator are the formula's integers."""

from dataclasses import replace

import numpy as np
import pytest
from vta_layers import Random, reference, simulated

from qcompile.targets.vta.config import DEFAULT
from qcompile.targets.vta.layers import Segment, Source, Sums, VtaTensor
from qcompile.targets.vta.lint import lint
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
    assert lint(program.config, program.instructions, program.image) == []
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


def narrow(**logs):
    return replace(DEFAULT, **{f"log_{name}": value for name, value in logs.items()})


CONFIGS = {
    "default": DEFAULT,
    "small buffers": narrow(uop_buff_size=9, inp_buff_size=12, wgt_buff_size=14, acc_buff_size=13),
    "4 bits": narrow(inp_width=2, wgt_width=2, inp_buff_size=14, wgt_buff_size=17),
    "2-bit weights": narrow(wgt_width=1, wgt_buff_size=16),
    "2 bits, blocks of 8": narrow(
        inp_width=1, wgt_width=1, block=3, inp_buff_size=12, wgt_buff_size=12, acc_buff_size=15
    ),
    "1 bit": narrow(inp_width=0, wgt_width=0, inp_buff_size=12, wgt_buff_size=15),
    "batches of 2": narrow(batch=1, acc_buff_size=17),
}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", CONFIGS)
def test_random_segments_are_exact(name, seed):
    rng = np.random.default_rng([seed, *name.encode()])
    segment = Random(rng, CONFIGS[name]).segment(1 + seed % 3)
    program = plan_segment(segment, CONFIGS[name], PORT_BYTES)
    expect_exact(segment, program, rng)
