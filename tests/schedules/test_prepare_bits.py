"""prepare_bits against NumPy, alone and with the packing of its codes."""

import numpy as np
import pytest
from tvm import te, tirx

from qcompile.schedules.pack_bits import pack_bits
from qcompile.schedules.prepare_bits import prepare_bits
from qcompile.targets import host_features
from tests.schedules.bits import packed_words
from tests.schedules.kernels import INT8_TARGETS, build, fused_function, int8_target, run

# Shape (N, H, W, C), groups, pads, columns, code of the border.
CASES = [
    ((1, 6, 7, 64), 1, (1, 1, 1, 1), 9, 0),
    ((1, 6, 7, 64), 1, (1, 1, 1, 1), 12, 3),
    ((2, 3, 5, 33), 1, (0, 2, 1, 0), 7, 2),
    ((1, 4, 4, 80), 2, (1, 0, 0, 1), 5, 1),
    ((1, 5, 3, 6), 3, (2, 2, 2, 2), 8, 3),
    ((1, 5, 5, 32), 1, (0, 0, 0, 0), 5, 0),
]


@pytest.fixture(params=INT8_TARGETS)
def target(request):
    found = int8_target(request.param)
    if not found.runs_on(host_features()):
        pytest.skip(f"this processor cannot run {found.name}")
    return found


def reference(codes, groups, pads, columns, code):
    top, left, bottom, _ = pads
    right = columns - left - codes.shape[2]
    padded = np.pad(codes, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=code)
    parts = [packed_words([part & 1, part >> 1]) for part in np.split(padded, groups, -1)]
    return np.concatenate(parts, -1)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_adds_a_border(case, target):
    shape, groups, pads, columns, code = case
    codes = np.random.default_rng(0).integers(0, 4, shape, dtype="uint8")
    words = reference(codes, groups, (0, 0, 0, 0), shape[2], 0)

    def compute(x):
        size = shape[3] // groups
        return prepare_bits(x, pads=pads, columns=columns, code=code, group_channels=size)

    function = fused_function([(words.shape, "uint32")], compute, lambda y: y, 1)
    expected = reference(codes, groups, pads, columns, code)
    np.testing.assert_array_equal(run(build(function, target), [words], expected), expected)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("quantized", [False, True])
def test_packs_codes_on_the_way(case, quantized, target):
    shape, groups, pads, columns, code = case
    values = np.random.default_rng(0).normal(1, 1, shape).astype("float32")
    codes = np.clip(np.rint(values), 0, 3).astype("uint8")

    def compute(x):
        if quantized:
            x = te.compute(
                shape,
                lambda *i: tirx.min(tirx.max(tirx.round(x(*i)), 0.0), 3.0).astype("uint8"),
                name="codes",
            )
        words, size = pack_bits(x, 2, groups), shape[3] // groups
        return prepare_bits(words, pads=pads, columns=columns, code=code, group_channels=size)

    x = values if quantized else codes
    function = fused_function([(shape, str(x.dtype))], compute, lambda y: y, 1)
    expected = reference(codes, groups, pads, columns, code)
    np.testing.assert_array_equal(run(build(function, target), [x], expected), expected)
