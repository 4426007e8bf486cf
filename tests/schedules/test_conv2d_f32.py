"""conv2d_f32 against NumPy float64.

Tolerance: a sum of K float32 products, in any order, is within K * 2**-24 * sum |x * w| of the
exact one.
"""

from dataclasses import dataclass

import numpy as np
import pytest
import tvm
from tvm import te

from qcompile.schedules import schedule
from qcompile.schedules.conv2d_f32 import conv2d_f32, pack_weights, plan_conv2d_f32
from qcompile.targets import load_target
from tests.schedules.covering import on_targets
from tests.schedules.kernels import ARM_TARGETS, compiled, runnable


@dataclass(frozen=True)
class Case:
    """A padded input (N, H, W, C) and the convolution of it."""

    data: tuple[int, int, int, int]
    channels: int
    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1


CASES = [
    Case((1, 9, 16, 8), 32, (3, 3)),
    Case((1, 5, 17, 3), 10, (3, 3), strides=(2, 2)),
    Case((2, 7, 15, 4), 17, (1, 5), strides=(1, 2)),
    Case((1, 11, 13, 5), 33, (3, 2), dilation=(2, 3)),
    Case((1, 6, 8, 12), 60, (3, 3), groups=3),
    Case((1, 6, 7, 8), 16, (2, 2), groups=2),
    Case((1, 6, 7, 32), 96, (2, 2), groups=4),
    Case((1, 5, 9, 6), 96, (3, 3), groups=2),
    Case((1, 4, 4, 6), 1, (4, 4)),
    Case((1, 20, 20, 7), 65, (1, 1)),
]


TARGETS = ["x86-64-v3", "znver4", *ARM_TARGETS]


@pytest.fixture(params=TARGETS)
def target(request):
    return runnable(load_target(request.param))


def run(case, x, weights, bias, target):
    plan = plan_conv2d_f32(
        case.data,
        case.channels,
        case.kernel,
        target,
        strides=case.strides,
        dilation=case.dilation,
        groups=case.groups,
    )
    packed = pack_weights(weights, plan)
    tensors = [te.placeholder(a.shape, "float32") for a in (x, packed, bias)]
    y = conv2d_f32(*tensors, plan=plan, layer="layer")
    func = te.create_prim_func([*tensors, y]).with_attr("global_symbol", "main")
    library = compiled(schedule(func, target), target)
    result = tvm.runtime.tensor(np.zeros([int(n) for n in y.shape], "float32"))
    library(*map(tvm.runtime.tensor, (x, packed, bias)), result)
    return result.numpy()


def convolve(case, x, weights, bias):
    """The convolution in float64."""
    (kh, kw), (dh, dw) = case.kernel, case.dilation
    extent = ((kh - 1) * dh + 1, (kw - 1) * dw + 1)
    windows = np.lib.stride_tricks.sliding_window_view(x.astype("float64"), extent, axis=(1, 2))
    windows = windows[:, :: case.strides[0], :: case.strides[1], :, ::dh, ::dw]
    parts = zip(
        np.split(windows, case.groups, axis=3),
        np.split(weights.astype("float64"), case.groups),
        strict=True,
    )
    sums = [np.einsum("nijcuv,ocuv->nijo", window, part) for window, part in parts]
    return np.concatenate(sums, axis=3) + bias


def data(case, seed):
    rng = np.random.default_rng(seed)
    depth = case.data[3] // case.groups
    shapes = [case.data, (case.channels, depth, *case.kernel), (case.channels,)]
    return [rng.normal(size=shape).astype("float32") for shape in shapes]


@on_targets(2, TARGETS, ("case", "seed"), [(case, k % 2) for k, case in enumerate(CASES)])
def test_convolves(case, seed, target):
    x, weights, bias = data(case, seed)
    y = run(case, x, weights, bias, target)
    bound = convolve(case, abs(x), abs(weights), abs(bias)) * weights[0].size * 2.0**-24
    assert (abs(y - convolve(case, x, weights, bias)) <= bound).all()
