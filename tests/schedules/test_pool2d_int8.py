"""Pooling of codes against NumPy, exactly, with and without a fused epilogue."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from tvm import relax
from tvm.relax import op

from qcompile.schedules.pool2d_int8 import pool2d_int8
from qcompile.schedules.pool2d_plan import Pool2dProblem, pool2d_plan, pooled_extent
from qcompile.targets import load_target
from tests.schedules.covering import on_targets
from tests.schedules.kernels import ARM_TARGETS, build, fused_function, run, runnable


@dataclass(frozen=True)
class Case:
    """x (N, H, W, C) and the windows over it; pads: (top, left, bottom, right)."""

    data: tuple[int, int, int, int]
    kernel: tuple[int, int] = (3, 3)
    strides: tuple[int, int] = (2, 2)
    pads: tuple[int, int, int, int] = (1, 1, 1, 1)
    dilation: tuple[int, int] = (1, 1)
    ceil_mode: bool = False


CASES = [
    Case((1, 12, 12, 64)),
    Case((2, 7, 9, 24), kernel=(2, 2), pads=(0, 0, 0, 0)),
    Case((1, 8, 8, 17), ceil_mode=True),
    Case((1, 10, 7, 40), kernel=(3, 2), strides=(1, 2), pads=(0, 1, 2, 0), ceil_mode=True),
    Case((1, 9, 9, 130), dilation=(2, 2), strides=(1, 1)),
    Case((1, 13, 13, 16), kernel=(5, 5), strides=(1, 1), pads=(2, 2, 2, 2)),
    Case((1, 9, 8, 3), kernel=(9, 8), strides=(1, 1), pads=(0, 0, 0, 0)),
    Case((1, 42, 40, 64), strides=(1, 1)),
    Case((1, 7, 7, 96), kernel=(7, 7), strides=(7, 7), pads=(0, 0, 0, 0)),
]


TARGETS = ["x86-64-v3", "znver4", *ARM_TARGETS]


@pytest.fixture(params=TARGETS)
def target(request):
    return runnable(load_target(request.param))


def windows(x, case, outside):
    """(N, OH, OW, C, KH, KW): what each window sees, in int64."""
    reach = [(case.kernel[a] - 1) * case.dilation[a] + 1 for a in (0, 1)]
    first, last, counts = case.pads[:2], case.pads[2:], []
    for a in (0, 1):
        steps = x.shape[1 + a] + first[a] + last[a] - reach[a]
        count = (-(-steps // case.strides[a]) if case.ceil_mode else steps // case.strides[a]) + 1
        if case.ceil_mode and (count - 1) * case.strides[a] >= x.shape[1 + a] + first[a]:
            count -= 1
        counts.append(count)
    over = [max(reach), max(reach)]
    padding = ((0, 0), *((first[a], last[a] + over[a]) for a in (0, 1)), (0, 0))
    x = np.pad(x.astype("int64"), padding, constant_values=outside)
    seen = np.lib.stride_tricks.sliding_window_view(x, reach, axis=(1, 2))
    seen = seen[:, :: case.strides[0], :: case.strides[1]][:, : counts[0], : counts[1]]
    return seen[..., :: case.dilation[0], :: case.dilation[1]]


def pooling(case, dtype, target, epilogue, *, largest):
    """The kernel."""
    problem = Pool2dProblem(
        x=case.data,
        codes=dtype,
        largest=largest,
        kernel=case.kernel,
        strides=case.strides,
        pads=case.pads,
        dilation=case.dilation,
        ceil_mode=case.ceil_mode,
        zero=0 if largest else 5,
    )
    plan = pool2d_plan(problem, target)
    func = fused_function(
        [(case.data, dtype)], lambda x: pool2d_int8(x, plan, "layer"), epilogue, 1
    )
    return build(func, target)


def codes(shape, dtype, seed):
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    rng = np.random.default_rng(seed)
    if seed == 0:
        return rng.choice(np.array([low, high], dtype), shape)
    return rng.integers(low, high + 1, shape, dtype=dtype)


@on_targets(2, TARGETS, ("case", "dtype"), list(itertools.product(CASES, ("uint8", "int8"))))
def test_finds_the_largest(case, dtype, target):
    kernel = pooling(case, dtype, target, lambda y: y, largest=True)
    for seed in (0, 1):
        x = codes(case.data, dtype, seed)
        expected = windows(x, case, np.iinfo(dtype).min).max(axis=(4, 5)).astype(dtype)
        np.testing.assert_array_equal(run(kernel, [x], expected), expected)


@on_targets(2, TARGETS, ("case", "dtype"), list(itertools.product(CASES, ("uint8", "int8"))))
def test_sums(case, dtype, target):
    kernel = pooling(case, dtype, target, lambda y: y, largest=False)
    for seed in (0, 1):
        x = codes(case.data, dtype, seed)
        expected = windows(x, case, 5).sum(axis=(4, 5)).astype("int32")
        np.testing.assert_array_equal(run(kernel, [x], expected), expected)


@on_targets(2, TARGETS, "case", CASES[:4])
def test_fuses_a_requantization(case, target):
    x = codes(case.data, "uint8", 3)
    sums = windows(x, case, 5).sum(axis=(4, 5)).astype("float32")
    expected = np.clip(np.rint(sums * np.float32(0.013)) + 3, 0, 255).astype("uint8")

    def requantize(sums):
        real = op.multiply(op.astype(sums, "float32"), relax.const(0.013, "float32"))
        real = op.clip(op.add(op.round(real), relax.const(3.0, "float32")), 0, 255)
        return op.astype(op.astype(real, "int32"), "uint8")

    kernel = pooling(case, "uint8", target, requantize, largest=False)
    np.testing.assert_array_equal(run(kernel, [x], expected), expected)


@on_targets(
    2,
    TARGETS,
    ("shape", "dtype"),
    list(itertools.product([(1, 7, 7, 128), (2, 4, 9, 21), (1, 24, 24, 1000)], ("uint8", "int8"))),
)
def test_sums_whole_images(shape, dtype, target):
    x = codes(shape, dtype, 1)
    expected = x.astype("int64").sum(axis=(1, 2), keepdims=True).astype("int32")
    plan = pool2d_plan(Pool2dProblem(shape, dtype, largest=False, kernel=shape[1:3]), target)
    func = fused_function([(shape, dtype)], lambda x: pool2d_int8(x, plan), lambda y: y, 1)
    np.testing.assert_array_equal(run(build(func, target), [x], expected), expected)


def test_counts_windows_as_onnx_does():
    assert pooled_extent(8, 3, 2, 1, 1, 1, False) == 4
    assert pooled_extent(8, 3, 2, 1, 1, 1, True) == 5
    # A last window that would start in the pad behind x is left out.
    assert pooled_extent(4, 2, 2, 0, 1, 1, True) == 2
    assert pooled_extent(3, 1, 2, 0, 1, 1, True) == 2
