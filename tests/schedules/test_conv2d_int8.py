"""conv2d_int8 against NumPy, exactly, with and without a fused epilogue."""

from dataclasses import replace

import numpy as np
import pytest

from qcompile.schedules.conv2d_int8 import conv2d_int8, pack_weights
from qcompile.schedules.conv2d_plan import Conv2dPlan, plan_conv2d
from qcompile.targets import load_target
from tests.schedules.convolution import Case
from tests.schedules.covering import on_targets
from tests.schedules.kernels import (
    EMULATED_TARGETS,
    INT8_TARGETS,
    build,
    compensated,
    fused_function,
    int8_target,
    reads_only,
    requantized,
    requantized_reference,
    requantized_with_residual,
    residual_reference,
    run,
    runnable,
)

CASES = [
    Case((1, 8, 14, 32), 32),
    Case((1, 7, 7, 64), 64),
    Case((1, 9, 17, 8), 10, strides=(2, 2)),
    Case((2, 9, 13, 6), 24),
    Case((1, 9, 13, 6), 72, dilation=(2, 2)),
    Case((1, 13, 15, 3), 33, kernel=(7, 7), pads=(3, 3, 3, 3), strides=(2, 2)),
    Case((1, 10, 11, 3), 16, strides=(2, 2), dilation=(1, 2), pads=(0, 0, 1, 2)),
    Case((1, 3, 3, 32), 64),
    Case((1, 1, 1, 40), 21, kernel=(1, 1), pads=(0, 0, 0, 0)),
    Case((1, 6, 10, 16), 48, kernel=(1, 1), pads=(0, 0, 0, 0), strides=(2, 2)),
    Case((1, 19, 1, 16), 32, kernel=(3, 1), pads=(1, 0, 1, 0)),
    Case((1, 1, 53, 8), 17, kernel=(1, 5), pads=(0, 2, 0, 2)),
    Case((1, 5, 11, 24), 12, groups=6),
    Case((1, 5, 11, 40), 40, groups=2),
    Case((2, 5, 5, 30), 45, groups=3),
    Case((1, 4, 4, 64), 128, groups=16),
    Case((1, 4, 4, 12), 96, groups=3),
]
ADDED = [CASES[0], CASES[2], CASES[4], CASES[13]]


TARGETS = [*INT8_TARGETS, *EMULATED_TARGETS]


@pytest.fixture(params=TARGETS)
def target(request):
    return runnable(int8_target(request.param))


def operands(case, seed):
    rng = np.random.default_rng(seed)
    shape = case.outputs, *case.kernel, case.data[3] // case.groups
    if seed == 0:
        x = rng.choice(np.array([0, 255], "uint8"), case.data)
        w = rng.choice(np.array([-128, 127], "int8"), shape)
    else:
        x = rng.integers(0, 256, case.data, dtype="uint8")
        w = rng.integers(-128, 128, shape, dtype="int8")
    scale = rng.random(case.outputs, "float32") * np.float32(1e-3)
    return x, w, rng.integers(-(2**20), 2**20, case.outputs, dtype="int32"), scale


def prepared(x, case, plan, zero, rng):
    """x padded with `zero` where the convolution reads, else with anything."""
    full = rng.integers(0, 256, (plan.batch, plan.height, plan.columns, plan.channels), "uint8")
    (top, left, bottom, right), (_, h, w, c) = case.pads, x.shape
    full[:, : top + h + bottom, : left + w + right, :c] = zero
    full[:, top : top + h, left : left + w, :c] = x
    return full.reshape(plan.input_shape)


def constants(w, bias, plan):
    return pack_weights(w, plan), compensated(bias, w, plan.offset)


def convolve(x, w, bias, case, zero):
    """The sums, exact in float64: they stay below 2**53."""
    (top, left, bottom, right), (dh, dw) = case.pads, case.dilation
    padding = ((0, 0), (top, bottom), (left, right), (0, 0))
    x = np.pad(x.astype("float64"), padding, constant_values=zero)
    extent = (case.kernel[0] - 1) * dh + 1, (case.kernel[1] - 1) * dw + 1
    windows = np.lib.stride_tricks.sliding_window_view(x, extent, axis=(1, 2))
    windows = windows[:, :: case.strides[0], :: case.strides[1], :, ::dh, ::dw]
    windows = np.split(windows, case.groups, axis=3)
    weights = np.split(w.astype("float64"), case.groups)
    sums = [
        np.einsum("nijcpq,opqc->nijo", *pair, optimize=True)
        for pair in zip(windows, weights, strict=True)
    ]
    return np.concatenate(sums, axis=3).astype("int64") + bias


def plan_of(case, w, target, narrow=False):
    return plan_conv2d(
        case.data,
        w.shape,
        target,
        pads=case.pads,
        strides=case.strides,
        dilation=case.dilation,
        groups=case.groups,
        narrow=narrow,
    )


def kernel(plan, epilogue, extra):
    """The function and the target-independent part of its inputs."""
    channels = plan.out_channels
    inputs = [
        (plan.input_shape, "uint8"),
        (plan.weight_shape, "int8"),
        ((channels,), "int32"),
        *extra,
    ]
    return fused_function(inputs, lambda x, w, b: conv2d_int8(x, w, b, plan, "layer"), epilogue, 3)


@on_targets(4, TARGETS, "case", CASES)
def test_convolves_and_requantizes(case, target):
    x, w, bias, scale = operands(case, 0)
    plan = plan_of(case, w, target)
    library = build(kernel(plan, requantized, [((case.outputs,), "float32")]), target)
    for seed in range(3):
        x, w, bias, scale = operands(case, seed)
        rng = np.random.default_rng(seed)
        arrays = [prepared(x, case, plan, 7, rng), *constants(w, bias, plan), scale]
        expected = requantized_reference(convolve(x, w, bias, case, 7), scale)
        np.testing.assert_array_equal(run(library, arrays, expected), expected)


@on_targets(4, TARGETS, "case", CASES[:4])
def test_gives_the_sums(case, target):
    x, w, bias, _ = operands(case, 0)
    plan = plan_of(case, w, target)
    library = build(kernel(plan, lambda sums: sums, []), target)
    arrays = [prepared(x, case, plan, 9, np.random.default_rng(0)), *constants(w, bias, plan)]
    expected = convolve(x, w, bias, case, 9).astype("int32")
    np.testing.assert_array_equal(run(library, arrays, expected), expected)


@on_targets(3, TARGETS, "case", CASES[:8])
def test_multiplies_narrow_weights(case, target):
    x, w, bias, _ = operands(case, 0)
    w = np.maximum(w, -127)
    plan = plan_of(case, w, target, narrow=True)
    library = build(kernel(plan, lambda sums: sums, []), target)
    arrays = [prepared(x, case, plan, 9, np.random.default_rng(0)), *constants(w, bias, plan)]
    expected = convolve(x, w, bias, case, 9).astype("int32")
    np.testing.assert_array_equal(run(library, arrays, expected), expected)


@on_targets(4, TARGETS, "case", ADDED)
def test_adds_a_residual(case, target):
    x, w, bias, scale = operands(case, 1)
    plan, sums = plan_of(case, w, target), convolve(x, w, bias, case, 0)
    rng = np.random.default_rng(1)
    residual = rng.integers(0, 256, sums.shape, dtype="uint8")
    extra = [(scale.shape, "float32"), (residual.shape, "uint8")]
    library = build(kernel(plan, requantized_with_residual, extra), target)
    arrays = [prepared(x, case, plan, 0, rng), *constants(w, bias, plan), scale, residual]
    expected = residual_reference(sums, scale, residual)
    np.testing.assert_array_equal(run(library, arrays, expected), expected)


@pytest.mark.parametrize("case", [Case((1, 6, 17, 64), 48), Case((1, 62, 9, 3), 16)], ids=str)
def test_reads_only_what_is_prepared(case, target):
    x, w, bias, _ = operands(case, 1)
    plan = replace(plan_of(case, w, target), chunks="none")
    library = build(kernel(plan, lambda sums: sums, []), target)
    rng, sums = np.random.default_rng(1), convolve(x, w, bias, case, 0).astype("int32")
    x = prepared(x, case, plan, 0, rng)
    if x.nbytes % 64:
        pytest.skip("needs data of whole cache lines")
    assert reads_only(library, [x, *constants(w, bias, plan)], sums)


def test_runs_in_parallel(target):
    case = Case((1, 28, 28, 64), 64)
    x, w, bias, scale = operands(case, 1)
    plan = plan_of(case, w, target)
    assert plan.parallel
    function = kernel(plan, requantized, [(scale.shape, "float32")])
    arrays = [prepared(x, case, plan, 3, np.random.default_rng(1)), *constants(w, bias, plan)]
    expected = requantized_reference(convolve(x, w, bias, case, 3), scale)
    y = run(build(function, target), [*arrays, scale], expected)
    np.testing.assert_array_equal(y, expected)


def test_leaves_small_kernels_to_one_thread():
    plan = plan_conv2d((1, 7, 7, 16), (16, 3, 3, 16), load_target("znver4"), pads=(1, 1, 1, 1))
    assert not plan.parallel


def test_products_of_matrices_hide_loads_from_the_second_cache():
    target = load_target("neoverse-n2")
    shapes = (1, 14, 14, 256), (512, 3, 3, 256)
    plan = plan_conv2d(*shapes, target, pads=(1, 1, 1, 1), strides=(2, 2))
    panel_bytes = plan.tile_vectors * plan.lanes * 3 * 3 * 256
    assert (plan.tile_columns, plan.tile_vectors) == (4, 4)
    assert panel_bytes > target.l1d_bytes // 2


def test_plan_survives_json():
    plan = plan_conv2d((1, 9, 13, 6), (24, 3, 3, 6), load_target("znver4"))
    assert Conv2dPlan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize(("name", "groups"), [("znver5", (4, 16)), ("znver4", (8, 8))])
def test_merges_small_groups_to_vectors(name, groups):
    plan = plan_conv2d((1, 4, 4, 64), (64, 3, 3, 4), load_target(name), groups=16)
    assert (plan.groups, plan.group_channels) == groups
