"""Every decision on a float32 kernel gives the default kernel's result, to the bit."""

import numpy as np
import pytest
from tvm import relax
from tvm.relax.op import nn

from qcompile.schedules.batch_matmul_f32 import BatchMatmulF32Problem
from qcompile.schedules.conv2d_f32 import Conv2dF32Problem
from qcompile.schedules.dense_f32 import DenseF32Problem
from qcompile.schedules.depthwise_conv2d_f32 import DepthwiseConv2dF32Problem
from qcompile.schedules.tunables import TUNABLES
from qcompile.targets import load_target
from tests.passes.modules import const, module
from tests.schedules.covering import shared_choices, untaken
from tests.schedules.kernels import ARM_TARGETS, runnable
from tests.schedules.spaces import expect_same_by_replan, results

CASES = [
    ("conv2d_f32", Conv2dF32Problem((1, 4, 7, 8), 32, (3, 3))),
    ("conv2d_f32", Conv2dF32Problem((2, 5, 13, 3), 10, (3, 3), strides=(2, 2))),
    ("conv2d_f32", Conv2dF32Problem((1, 6, 7, 32), 48, (3, 2), dilation=(2, 1), groups=2)),
    ("conv2d_f32", Conv2dF32Problem((1, 4, 5, 12), 72, (2, 2), groups=3)),
    ("dense_f32", DenseF32Problem(7, 40, 32)),
    ("dense_f32", DenseF32Problem(1, 10, 3)),
    ("dense_f32", DenseF32Problem(5, 67, 26)),
    ("batch_matmul_f32", BatchMatmulF32Problem(2, 9, 32, 32)),
    ("batch_matmul_f32", BatchMatmulF32Problem(3, 5, 21, 10)),
    ("depthwise_conv2d_f32", DepthwiseConv2dF32Problem((1, 6, 9, 64), 64, (3, 3))),
    ("depthwise_conv2d_f32", DepthwiseConv2dF32Problem((2, 7, 11, 21), 21, (3, 3), (2, 2))),
    ("depthwise_conv2d_f32", DepthwiseConv2dF32Problem((1, 8, 9, 8), 32, (7, 4), (1, 2))),
    ("depthwise_conv2d_f32", DepthwiseConv2dF32Problem((1, 7, 9, 32), 32, (3, 2), dilation=(2, 3))),
]


TARGETS = ("x86-64-v3", "znver4", "rpi4", "armv7-a9")
SAMPLES = tuple(CASES), TARGETS, 3


@pytest.fixture(params=[*TARGETS[:2], *ARM_TARGETS])
def target(request):
    return runnable(load_target(request.param))


def test_takes_every_choice():
    """Of all decisions but tiles, of which there are too many."""
    assert {name for _, name, _ in untaken(*SAMPLES)} <= {"tile"}


@pytest.mark.parametrize(("operator", "problem"), CASES)
def test_sums_are_equal_to_the_bit(operator, problem, target):
    decided = [{}, *shared_choices(*SAMPLES)[operator, problem, target.name]]
    channels = getattr(problem, "channels", getattr(problem, "columns", 0))
    bias = np.random.default_rng(1).normal(size=channels).astype("float32")
    others = [] if operator == "batch_matmul_f32" else [bias]
    found = results(operator, problem, target, decided, others, "float32")
    expected = next(found)
    for decisions, y in zip(decided[1:], found, strict=True):
        np.testing.assert_array_equal(y, expected, err_msg=str(decisions))


@pytest.mark.parametrize("name", ["x86-64-v3", "znver4", "rpi4"])
def test_long_vectors_may_be_halved(name):
    target = load_target(name)
    space = TUNABLES["dense_f32"].space(DenseF32Problem(7, 64, 32), target)
    lanes = {tile[2] for tile in space.decisions[0].choices}
    assert lanes == ({16, 8} if name == "znver4" else {target.vector_bytes // 4})


def conv(groups, shape, w):
    options = {"data_layout": "NHWC", "kernel_layout": "OIHW", "padding": (1, 1, 1, 1)}
    return module(
        lambda emit, x: nn.relu(emit(nn.conv2d(x, const(w), groups=groups, **options))),
        (shape, "float32"),
    )


def modules():
    ones = np.ones
    yield "conv2d_f32", conv(1, (1, 6, 7, 8), ones((24, 8, 3, 3), "float32"))
    yield "depthwise_conv2d_f32", conv(32, (1, 6, 7, 32), ones((32, 1, 3, 3), "float32"))
    # The residual has the shape of x.
    square = const(ones((32, 32), "float32"))
    yield (
        "dense_f32",
        module(
            lambda emit, x, r: relax.op.add(emit(relax.op.matmul(x, square)), r),
            ((8, 32), "float32"),
            ((8, 32), "float32"),
        ),
    )
    yield (
        "batch_matmul_f32",
        module(
            lambda emit, a, b: nn.relu(emit(relax.op.matmul(a, b))),
            ((2, 16, 16), "float32"),
            ((2, 16, 16), "float32"),
        ),
    )


@pytest.mark.parametrize(("operator", "mod"), list(modules()))
def test_a_network_lowers_to_what_replan_makes(operator, mod):
    expect_same_by_replan(mod, operator, load_target("znver4"), seed=1)
