"""Every decision on the pooling of codes against NumPy, exactly."""

import numpy as np
import pytest
from tvm import relax
from tvm.relax.op import nn

from qcompile.ops import sum_pool2d
from qcompile.schedules.pool2d_plan import Pool2dProblem
from qcompile.targets import load_target
from tests.passes.modules import module
from tests.schedules.covering import shared_choices, untaken
from tests.schedules.kernels import ARM_TARGETS, runnable
from tests.schedules.spaces import expect_same_by_replan, kernel, results

BORDER = {"pads": (1, 1, 1, 1), "strides": (2, 2)}
CASES = [
    Pool2dProblem((1, 8, 9, 128), "uint8", True, (3, 3), **BORDER),
    Pool2dProblem((2, 7, 9, 21), "int8", True, (2, 2), strides=(2, 2)),
    Pool2dProblem((1, 9, 7, 200), "int8", True, (3, 2), dilation=(2, 1)),
    Pool2dProblem((1, 12, 13, 70), "uint8", True, (5, 6), strides=(1, 2), pads=(2, 1, 0, 3)),
    Pool2dProblem((1, 8, 9, 256), "uint8", False, (3, 3), zero=5, **BORDER),
    Pool2dProblem((1, 9, 8, 17), "int8", False, (9, 8)),
    Pool2dProblem((1, 14, 13, 64), "int8", False, (13, 12), zero=-3),
    Pool2dProblem((1, 40, 40, 70), "uint8", True, (3, 3), **BORDER),
]


TARGETS = ("x86-64-v3", "znver4", "rpi4", "armv7-a9")
SAMPLES = tuple(("pool2d_int8", problem) for problem in CASES), TARGETS, 3


@pytest.fixture(params=[*TARGETS[:2], *ARM_TARGETS])
def target(request):
    return runnable(load_target(request.param))


def pooled(problem, x):
    outside = np.iinfo(problem.codes).min if problem.largest else problem.zero
    top, left, bottom, right = problem.pads
    padding = ((0, 0), (top, bottom), (left, right), (0, 0))
    x = np.pad(x.astype("int64"), padding, constant_values=outside)
    reach = [(k - 1) * d + 1 for k, d in zip(problem.kernel, problem.dilation, strict=True)]
    seen = np.lib.stride_tricks.sliding_window_view(x, reach, axis=(1, 2))
    seen = seen[:, :: problem.strides[0], :: problem.strides[1]]
    seen = seen[..., :: problem.dilation[0], :: problem.dilation[1]]
    return seen.max(axis=(4, 5)) if problem.largest else seen.sum(axis=(4, 5))


def test_takes_every_choice():
    assert untaken(*SAMPLES) == set()


@pytest.mark.parametrize("problem", CASES)
def test_pools_the_same_codes(problem, target):
    decided = shared_choices(*SAMPLES)["pool2d_int8", problem, target.name]
    _, (x,), _ = kernel("pool2d_int8", problem, target, {}, [])
    dtype = problem.codes if problem.largest else "int32"
    found = results("pool2d_int8", problem, target, decided, [], dtype)
    for decisions, y in zip(decided, found, strict=True):
        np.testing.assert_array_equal(y, pooled(problem, x), err_msg=str(decisions))


def largest(emit, x):
    """Max pooling, and a sum that TVM fuses behind it."""
    codes = emit(nn.max_pool2d(x, (3, 3), (2, 2), (1, 1, 1, 1), layout="NHWC"))
    return relax.op.add(codes, relax.const(3, "uint8"))


def total(kernel):
    def body(emit, x):
        sums = emit(
            sum_pool2d(
                x,
                kernel=kernel,
                strides=(1, 1),
                padding=(0, 0, 0, 0),
                dilation=(1, 1),
                zero_point=4,
            )
        )
        return relax.op.astype(sums, "float32")

    return body


@pytest.mark.parametrize("body", [largest, total((3, 3)), total((13, 12))])
def test_a_network_lowers_to_what_replan_makes(body):
    mod = module(body, ((1, 14, 15, 128), "uint8"))
    expect_same_by_replan(mod, "pool2d_int8", load_target("znver4"), seed=2)
