"""Thresholds without a kernel against NumPy."""

import itertools

import numpy as np
import pytest

from qcompile.schedules.threshold import threshold
from tests.schedules.covering import on_targets
from tests.schedules.kernels import (
    ARM_TARGETS,
    INT8_TARGETS,
    build,
    fused_function,
    int8_target,
    run,
    runnable,
)
from tests.schedules.packing import thresholds_of

TARGETS = [*INT8_TARGETS, *ARM_TARGETS]


@pytest.fixture(params=TARGETS)
def target(request):
    return runnable(int8_target(request.param))


@on_targets(
    2,
    TARGETS,
    ("levels", "channels"),
    list(itertools.product((1, 2, 3, 7, 15, 31), (5, 64))),
)
def test_counts_what_is_reached(levels, channels, target):
    rng = np.random.default_rng(levels)
    sums = rng.integers(-300, 300, (6, 7, channels), dtype="int32")
    sums[0, 0], sums[0, 1] = -(2**31), 2**31 - 1
    thresholds = thresholds_of(sums, levels, rng)
    function = fused_function(
        [(sums.shape, "int32"), (thresholds.shape, "int32")], threshold, lambda y: y, 2
    )
    expected = (sums[..., None, :] >= thresholds).sum(-2).astype("uint8")
    y = run(build(function, target), [sums, thresholds], expected)
    np.testing.assert_array_equal(y, expected)
