"""depthwise_conv2d_f32 against NumPy float64.

Tolerance: a sum of K float32 products, in any order, is within K * 2**-24 * sum |x * w| of the
exact one.
"""

from dataclasses import dataclass

import numpy as np
import pytest
import tvm
from tvm import te

from qcompile.schedules import schedule
from qcompile.schedules.depthwise_conv2d_f32 import (
    depthwise_conv2d_f32,
    pack_weights,
    plan_depthwise_conv2d_f32,
)
from qcompile.targets import load_target
from tests.schedules.kernels import ARM_TARGETS, compiled, runnable


@dataclass(frozen=True)
class Case:
    """A padded input (N, H, W, C) and the convolution of it."""

    data: tuple[int, int, int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    multiplier: int = 1


CASES = [
    Case((1, 9, 16, 32), (3, 3)),
    Case((2, 7, 19, 21), (3, 3), strides=(2, 2)),
    Case((1, 8, 9, 3), (1, 4)),
    Case((1, 11, 13, 17), (3, 2), dilation=(2, 3)),
    Case((1, 6, 8, 6), (3, 3), multiplier=4),
    Case((1, 9, 9, 16), (7, 7)),
    Case((1, 30, 30, 144), (3, 3)),
]


@pytest.fixture(params=["x86-64-v3", "znver4", *ARM_TARGETS])
def target(request):
    return runnable(load_target(request.param))


def run(case, x, weights, bias, target):
    plan = plan_depthwise_conv2d_f32(
        case.data, len(weights), case.kernel, target, strides=case.strides, dilation=case.dilation
    )
    packed = pack_weights(weights, plan)
    tensors = [te.placeholder(a.shape, "float32") for a in (x, packed, bias)]
    y = depthwise_conv2d_f32(*tensors, plan=plan, layer="layer")
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
    wide = windows.repeat(case.multiplier, axis=3)
    return np.einsum("nijouv,ouv->nijo", wide, weights[:, 0].astype("float64")) + bias


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("case", CASES)
def test_convolves(case, seed, target):
    rng = np.random.default_rng(seed)
    channels = case.data[3] * case.multiplier
    shapes = [case.data, (channels, 1, *case.kernel), (channels,)]
    x, weights, bias = (rng.normal(size=shape).astype("float32") for shape in shapes)
    y = run(case, x, weights, bias, target)
    bound = convolve(case, abs(x), abs(weights), abs(bias)) * (weights[0].size + 1) * 2.0**-24
    assert (abs(y - convolve(case, x, weights, bias)) <= bound).all()
