"""Every decision on an int8 depthwise convolution against NumPy, exactly."""

from dataclasses import replace

import numpy as np
import pytest

from qcompile.ops import conv2d
from qcompile.schedules.depthwise_plan import DepthwiseProblem, depthwise_plan, depthwise_space
from qcompile.targets import load_target
from tests.passes.modules import const, module
from tests.schedules.covering import shared_choices, untaken
from tests.schedules.kernels import EMULATED_TARGETS, runnable
from tests.schedules.spaces import expect_same_by_replan, results

PADS = {"pads": (1, 1, 1, 1)}
CASES = [
    DepthwiseProblem((1, 6, 5, 32), (32, 3, 3), **PADS),
    DepthwiseProblem((2, 5, 9, 17), (17, 3, 3), strides=(2, 2), **PADS),
    DepthwiseProblem((1, 7, 8, 16), (16, 5, 4), pads=(2, 2, 2, 2), strides=(1, 2)),
    DepthwiseProblem((1, 7, 5, 20), (20, 3, 3), pads=(2, 2, 2, 2), dilation=(2, 2)),
    DepthwiseProblem((1, 1, 17, 16), (16, 1, 5), pads=(0, 2, 0, 2)),
    DepthwiseProblem((1, 6, 4, 5), (15, 3, 3), **PADS),
    DepthwiseProblem((1, 7, 8, 16), (16, 3, 3)),
]
OPERATOR = "depthwise_conv2d_int8"


TARGETS = ("x86-64-v3", "skylake-avx512", "znver4", "rpi4", "rpi5", "neoverse-n2", "armv7-a9")
SAMPLES = tuple((OPERATOR, problem) for problem in CASES), TARGETS, 3


@pytest.fixture(params=[*TARGETS[:3], *EMULATED_TARGETS])
def target(request):
    return runnable(load_target(request.param))


def convolved(problem, bias):
    """Of the operands that every plan has: codes, with zeros as pads, and weights."""
    rng = np.random.default_rng(7)
    codes = rng.integers(0, 256, (problem.x[0], *problem.padded, problem.x[3]), "uint8")
    w = rng.integers(-128, 128, problem.w, "int8").astype("int64")
    x = codes.astype("int64").repeat(len(w) // problem.x[3], axis=3)
    (dh, dw), (sh, sw) = problem.dilation, problem.strides
    reach = (w.shape[1] - 1) * dh + 1, (w.shape[2] - 1) * dw + 1
    windows = np.lib.stride_tricks.sliding_window_view(x, reach, axis=(1, 2))
    windows = windows[:, ::sh, ::sw, :, ::dh, ::dw]
    return np.einsum("nijcpq,cpq->nijc", windows, w) + bias


def test_takes_every_choice():
    assert untaken(*SAMPLES) == set()


@pytest.mark.parametrize("problem", CASES)
def test_convolves_the_same_codes(problem, target):
    decided = shared_choices(*SAMPLES)[OPERATOR, problem, target.name]
    bias = np.random.default_rng(1).integers(-(2**20), 2**20, problem.w[0], dtype="int32")
    expected = convolved(problem, bias)
    found = results(OPERATOR, problem, target, decided, [bias], "int32")
    for decisions, y in zip(decided, found, strict=True):
        np.testing.assert_array_equal(y, expected, err_msg=str(decisions))


def test_leaves_out_tiles_that_need_a_copy():
    target = load_target("znver4")

    def shapes(problem):
        tiles = depthwise_space(problem, target).decisions[0].choices
        return {depthwise_plan(problem, target, {"tile": tile}).input_shape for tile in tiles}

    bare = DepthwiseProblem((1, 7, 8, 16), (16, 3, 3))
    assert len(shapes(bare)) == 1
    assert len(shapes(replace(bare, pads=(1, 1, 1, 1)))) > 1


@pytest.mark.parametrize("name", ["znver4", "rpi4"])
def test_a_network_lowers_to_what_replan_makes(name):
    w, bias = np.ones((32, 3, 3, 1), "int8"), np.zeros(32, "int32")
    mod = module(
        lambda emit, x: conv2d(
            x, const(w, "int8"), const(bias, "int32"), padding=(1, 1, 1, 1), groups=32,
            strides=(1, 1), dilation=(1, 1), zero_point=3, bits=(8, 8), codes=(0, 255),
            layer="layer",
        ),
        ((1, 8, 9, 32), "uint8"),
    )  # fmt: skip
    expect_same_by_replan(mod, OPERATOR, load_target(name), seed=3)
