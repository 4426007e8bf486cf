"""Max pooling of packed bits against NumPy."""

import numpy as np
import pytest

from qcompile.schedules.max_pool_bits import max_pool2d_bits
from tests.schedules.bits import packed_words
from tests.schedules.kernels import (
    ARM_TARGETS,
    INT8_TARGETS,
    build,
    fused_function,
    int8_target,
    run,
    runnable,
)

# Shape (N, H, W, C), kernel, strides, pads, dilation, ceil_mode.
CASES = [
    ((1, 8, 8, 64), (2, 2), (2, 2), (0, 0, 0, 0), (1, 1), False),
    ((2, 7, 9, 33), (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), False),
    ((1, 9, 7, 96), (3, 2), (1, 2), (0, 1, 1, 0), (1, 1), True),
    ((1, 9, 9, 5), (2, 3), (1, 1), (0, 0, 0, 0), (2, 3), False),
    ((1, 7, 7, 512), (7, 7), (1, 1), (0, 0, 0, 0), (1, 1), False),
]


@pytest.fixture(params=[*INT8_TARGETS, *ARM_TARGETS])
def target(request):
    return runnable(int8_target(request.param))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_pools(case, target):
    shape, kernel, strides, pads, dilation, ceil_mode = case
    codes = (np.random.default_rng(0).random(shape) < 0.1).astype("uint8")
    words = packed_words([codes])
    function = fused_function(
        [(words.shape, "uint32")],
        lambda x: max_pool2d_bits(
            x, kernel=kernel, strides=strides, pads=pads, dilation=dilation, ceil_mode=ceil_mode
        ),
        lambda y: y,
        1,
    )
    counts = [int(extent) for extent in function.params[-1].ty.shape[1:3]]
    reach = [(kernel[a] - 1) * dilation[a] + 1 for a in (0, 1)]
    after = [(counts[a] - 1) * strides[a] + reach[a] - pads[a] - shape[a + 1] for a in (0, 1)]
    padding = ((0, 0), *((pads[a], max(after[a], 0)) for a in (0, 1)), (0, 0))
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(codes, padding), reach, axis=(1, 2))
    windows = windows[:, :: strides[0], :: strides[1], :, :: dilation[0], :: dilation[1]]
    pooled = windows.max((-2, -1))[:, : counts[0], : counts[1]]
    expected = packed_words([pooled])
    np.testing.assert_array_equal(run(build(function, target), [words], expected), expected)
