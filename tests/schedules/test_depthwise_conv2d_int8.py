"""depthwise_conv2d_int8 against NumPy, exactly, with and without a fused requantization."""

from dataclasses import dataclass

import numpy as np
import pytest
from tvm.relax import op

from qcompile.schedules.depthwise_conv2d_int8 import depthwise_conv2d_int8, pack_weights
from qcompile.schedules.depthwise_plan import plan_depthwise
from qcompile.targets import load_target
from tests.schedules.covering import on_targets
from tests.schedules.kernels import EMULATED_TARGETS, build, fused_function, run, runnable
from tests.schedules.packing import packed_codes, packed_reference, thresholds_of


@dataclass(frozen=True)
class Case:
    """x (N, H, W, C) before padding and what convolves it; pads: (top, left, bottom, right)."""

    data: tuple[int, int, int, int]
    kernel: tuple[int, int] = (3, 3)
    pads: tuple[int, int, int, int] = (1, 1, 1, 1)
    strides: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    multiplier: int = 1


CASES = [
    Case((1, 14, 14, 32)),
    Case((1, 7, 7, 24)),
    Case((2, 5, 13, 17), strides=(2, 2)),
    Case((1, 12, 9, 48), strides=(2, 2), pads=(0, 0, 1, 1)),
    Case((1, 9, 11, 16), kernel=(5, 5), pads=(2, 2, 2, 2)),
    Case((1, 10, 10, 16), kernel=(5, 5), pads=(1, 2, 2, 1), strides=(2, 2)),
    Case((1, 11, 12, 20), dilation=(2, 2), pads=(2, 2, 2, 2)),
    Case((1, 8, 8, 16), kernel=(7, 7), pads=(3, 3, 3, 3)),
    Case((1, 1, 37, 40), kernel=(1, 9), pads=(0, 4, 0, 4)),
    Case((1, 1, 37, 16), kernel=(1, 3), pads=(0, 2, 0, 2), dilation=(1, 2)),
    Case((1, 6, 15, 16), kernel=(1, 5), pads=(0, 2, 0, 2), strides=(1, 2)),
    Case((1, 15, 3, 16), kernel=(5, 1), pads=(2, 0, 2, 0)),
    Case((1, 49, 10, 64), kernel=(49, 10), pads=(0, 0, 0, 0)),
    Case((1, 6, 7, 5), multiplier=3),
    Case((1, 4, 4, 1), multiplier=8, pads=(0, 0, 0, 0), kernel=(2, 2)),
    Case((1, 3, 4, 16), kernel=(1, 1), pads=(0, 0, 0, 0)),
]


X86_TARGETS = ["x86-64-v3", "alderlake", "skylake-avx512", "znver4"]


TARGETS = [*X86_TARGETS, *EMULATED_TARGETS]


@pytest.fixture(params=TARGETS)
def target(request):
    return runnable(load_target(request.param))


def operands(case, seed):
    rng = np.random.default_rng(seed)
    outputs = case.data[3] * case.multiplier
    if seed == 0:
        x = rng.choice(np.array([0, 255], "uint8"), case.data)
        w = rng.choice(np.array([-128, 127], "int8"), (outputs, *case.kernel))
    else:
        x = rng.integers(0, 256, case.data, dtype="uint8")
        w = rng.integers(-128, 128, (outputs, *case.kernel), dtype="int8")
    return x, w, rng.integers(-(2**20), 2**20, outputs, dtype="int32")


def prepared(x, case, plan, zero, rng):
    """x padded with `zero` where the convolution reads, else with anything."""
    full = rng.integers(0, 256, plan.input_shape, dtype="uint8")
    (top, left, bottom, right), (_, h, w, c) = case.pads, x.shape
    full[:, : top + h + bottom, : left + w + right, :c] = zero
    full[:, top : top + h, left : left + w, :c] = x
    return full


def convolve(x, w, bias, case, zero):
    """The sums in int64."""
    (top, left, bottom, right), (dh, dw) = case.pads, case.dilation
    padding = ((0, 0), (top, bottom), (left, right), (0, 0))
    x = np.pad(x.astype("int64"), padding, constant_values=zero)
    x = x.repeat(case.multiplier, axis=3)
    extent = (case.kernel[0] - 1) * dh + 1, (case.kernel[1] - 1) * dw + 1
    windows = np.lib.stride_tricks.sliding_window_view(x, extent, axis=(1, 2))
    windows = windows[:, :: case.strides[0], :: case.strides[1], :, ::dh, ::dw]
    return np.einsum("nijcpq,cpq->nijc", windows, w.astype("int64")) + bias


def plan_of(case, w, target):
    arguments = {"pads": case.pads, "strides": case.strides, "dilation": case.dilation}
    return plan_depthwise(case.data, w.shape, target, **arguments)


@on_targets(4, TARGETS, "case", CASES)
def test_convolves(case, target):
    plan, zero = plan_of(case, operands(case, 0)[1], target), 7
    kernel = None
    for seed in (0, 1):
        x, w, bias = operands(case, seed)
        data = prepared(x, case, plan, zero, np.random.default_rng(9))
        arrays = data, pack_weights(w, plan), bias
        kernel = kernel or build(
            fused_function(
                [(array.shape, str(array.dtype)) for array in arrays],
                lambda *tensors: depthwise_conv2d_int8(*tensors, plan, "layer"),
                lambda sums: sums,
                3,
            ),
            target,
        )
        expected = convolve(x, w, bias, case, zero)
        y = run(kernel, arrays, expected.astype("int32"))
        np.testing.assert_array_equal(y, expected)


@on_targets(4, TARGETS, "case", CASES[:6])
def test_fuses_what_follows(case, target):
    x, w, bias = operands(case, 2)
    plan, zero = plan_of(case, w, target), 131
    rng = np.random.default_rng(3)
    scale = rng.uniform(1e-3, 1e-2, len(bias)).astype("float32")
    sums = convolve(x, w, bias, case, zero)
    residual = rng.integers(0, 256, sums.shape, dtype="uint8")
    arrays = (
        prepared(x, case, plan, zero, rng), pack_weights(w, plan), bias, scale, residual,
    )  # fmt: skip

    def requantize(sums, scale, residual):
        real = op.multiply(op.astype(sums, "float32"), scale)
        real = op.clip(op.round(real), 0, 255)
        return op.maximum(op.astype(op.astype(real, "int32"), "uint8"), residual)

    func = fused_function(
        [(array.shape, str(array.dtype)) for array in arrays],
        lambda *tensors: depthwise_conv2d_int8(*tensors, plan, "layer"),
        requantize,
        3,
    )
    codes = np.clip(np.rint(sums.astype("float32") * scale), 0, 255).astype("uint8")
    expected = np.maximum(codes, residual)
    np.testing.assert_array_equal(run(build(func, target), arrays, expected), expected)


@on_targets(4, TARGETS, "case", [CASES[0], CASES[1], CASES[3]])
def test_packs_the_codes(case, target):
    x, w, bias = operands(case, 2)
    plan, rng = plan_of(case, w, target), np.random.default_rng(3)
    sums = convolve(x, w, bias, case, 5)
    thresholds = thresholds_of(sums, 3, rng)
    arrays = prepared(x, case, plan, 5, rng), pack_weights(w, plan), bias, thresholds
    func = fused_function(
        [(array.shape, str(array.dtype)) for array in arrays],
        lambda *tensors: depthwise_conv2d_int8(*tensors, plan, "layer"),
        packed_codes,
        3,
    )
    expected = packed_reference(sums, thresholds)
    np.testing.assert_array_equal(run(build(func, target), arrays, expected), expected)


@pytest.mark.parametrize(
    ("name", "instruction"), [("alderlake", "vpdpbusd"), ("x86-64-v3", "vpmaddwd")]
)
def test_uses_the_dot_product_of_the_target(name, instruction):
    target, case = load_target(name), CASES[0]
    plan = plan_of(case, np.zeros((32, 3, 3), "int8"), target)
    weights = pack_weights(np.zeros((32, 3, 3), "int8"), plan)
    operands = [(plan.input_shape, "uint8"), (weights.shape, str(weights.dtype)), ((32,), "int32")]
    func = fused_function(
        operands, lambda *t: depthwise_conv2d_int8(*t, plan, "layer"), lambda sums: sums, 3
    )
    assert instruction in build(func, target).mod.inspect_source("asm")


def test_gives_a_step_of_the_kernel_to_each_lane():
    target = load_target("znver4")
    plan = plan_depthwise((1, 56, 56, 144), (144, 3, 3), target, pads=(1, 1, 1, 1))
    assert (plan.lanes, plan.steps, plan.tile_rows) == (16, 1, 2)
    assert plan.input_shape == (1, 58, 58, 144)
