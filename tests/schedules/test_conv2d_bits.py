"""conv2d_bits against NumPy, exactly, with and without a fused epilogue."""

import numpy as np
import pytest

from qcompile.schedules.conv2d_bits import pack_weights
from qcompile.schedules.conv2d_bits_plan import Conv2dBitsPlan
from qcompile.targets import host_features, load_target
from tests.schedules.bit_convolution import (
    convolve,
    correlate,
    kernel,
    operands,
    plan_of,
    prepared,
    width_of,
)
from tests.schedules.bits import WIDTHS, Width
from tests.schedules.convolution import Case
from tests.schedules.covering import on_targets
from tests.schedules.kernels import (
    INT8_TARGETS,
    build,
    int8_target,
    reads_only,
    requantized,
    requantized_reference,
    requantized_with_residual,
    residual_reference,
    run,
)
from tests.schedules.packing import packed_codes, packed_reference, thresholds_of

CASES = [
    Case((1, 8, 14, 64), 64),
    Case((1, 7, 7, 128), 64),
    Case((1, 9, 17, 8), 10, strides=(2, 2)),
    Case((2, 9, 13, 40), 24),
    Case((1, 9, 13, 33), 72, dilation=(2, 2)),
    Case((1, 13, 15, 3), 33, kernel=(7, 7), pads=(3, 3, 3, 3), strides=(2, 2)),
    Case((1, 10, 11, 65), 16, strides=(2, 2), dilation=(1, 2), pads=(0, 0, 1, 2)),
    Case((1, 3, 3, 512), 64),
    Case((1, 1, 1, 40), 21, kernel=(1, 1), pads=(0, 0, 0, 0)),
    Case((1, 6, 10, 1184), 48, kernel=(1, 1), pads=(0, 0, 0, 0), strides=(2, 2)),
    Case((1, 19, 1, 16), 32, kernel=(3, 1), pads=(1, 0, 1, 0)),
    Case((1, 1, 53, 8), 17, kernel=(1, 5), pads=(0, 2, 0, 2)),
    Case((1, 5, 11, 24), 12, groups=6),
    Case((1, 5, 11, 80), 80, groups=2),
    Case((2, 5, 5, 30), 45, groups=3),
    Case((1, 4, 4, 256), 128, groups=4),
    Case((1, 4, 4, 48), 96, groups=3, strides=(3, 3)),
]
ADDED = [CASES[0], CASES[2], CASES[4], CASES[13]]
BORDERED = [CASES[0], CASES[2], CASES[4], CASES[6], CASES[7], CASES[10], CASES[12]]


TARGETS = INT8_TARGETS


@pytest.fixture(params=TARGETS)
def target(request):
    found = int8_target(request.param)
    if not found.runs_on(host_features()):
        pytest.skip(f"this processor cannot run {found.name}")
    return found


@on_targets(2, TARGETS, "case", CASES)
def test_convolves_and_requantizes(case, target):
    width = width_of(case)
    plan = plan_of(case, width, target)
    library = build(kernel(plan, requantized, [((case.outputs,), "float32")]), target)
    zero = 2**width.data_bits - 1
    for seed in range(3):
        codes, values, bias, scale = operands(case, width, seed)
        x = prepared(codes, case, width, plan, zero, np.random.default_rng(seed))
        arrays = [x, pack_weights(width.weight_planes(values), plan), bias, scale]
        expected = requantized_reference(convolve(codes, values, case, width, zero) + bias, scale)
        np.testing.assert_array_equal(run(library, arrays, expected), expected)


@on_targets(2, TARGETS, "width", WIDTHS)
def test_gives_the_sums(width, target):
    case = Case((1, 5, 9, 72), 48)
    plan = plan_of(case, width, target)
    library = build(kernel(plan, lambda sums: sums, []), target)
    codes, values, bias, _ = operands(case, width, 1)
    x = prepared(codes, case, width, plan, 0, np.random.default_rng(1))
    expected = (convolve(codes, values, case, width, 0) + bias).astype("int32")
    arrays = [x, pack_weights(width.weight_planes(values), plan), bias]
    np.testing.assert_array_equal(run(library, arrays, expected), expected)


@on_targets(2, TARGETS, "case", BORDERED)
def test_pads_with_zeros_that_have_no_code(case, target):
    """±1 data padded with 0: every class of rows and columns has its bias."""
    width = Width("xor", 1, 1)
    plan = plan_of(case, width, target)
    codes, values, bias, _ = operands(case, width, 1)
    (top, left, bottom, right) = case.pads
    padding = ((0, 0), (top, bottom), (left, right), (0, 0))
    exact = correlate(np.pad(2.0 * codes - 1, padding), values, case)
    at_border = correlate(np.pad(np.zeros(case.data), padding, constant_values=-1.0), values, case)
    own = np.zeros((*plan.class_counts, case.outputs), "int32")
    rows, columns = plan.classes()
    own[np.ix_(rows, columns)] = bias + values[0].size - at_border[0].astype("int32")
    library = build(kernel(plan, lambda sums: sums, [], own.shape), target)
    x = prepared(codes, case, width, plan, 0, np.random.default_rng(1))
    expected = (exact + bias).astype("int32")
    arrays = [x, pack_weights(width.weight_planes(values), plan), own]
    np.testing.assert_array_equal(run(library, arrays, expected), expected)


@on_targets(2, TARGETS, "case", ADDED)
def test_adds_a_residual(case, target):
    width = width_of(case)
    plan, (codes, values, bias, scale) = plan_of(case, width, target), operands(case, width, 1)
    rng, sums = np.random.default_rng(1), convolve(codes, values, case, width, 0) + bias
    residual = rng.integers(0, 256, sums.shape, dtype="uint8")
    extra = [(scale.shape, "float32"), (residual.shape, "uint8")]
    library = build(kernel(plan, requantized_with_residual, extra), target)
    x = prepared(codes, case, width, plan, 0, rng)
    arrays = [x, pack_weights(width.weight_planes(values), plan), bias, scale, residual]
    expected = residual_reference(sums, scale, residual)
    np.testing.assert_array_equal(run(library, arrays, expected), expected)


PACKED = [*CASES[:5], CASES[7], CASES[13], CASES[15], CASES[16], Case((1, 5, 9, 72), 48)]


@on_targets(
    2,
    TARGETS,
    ("case", "levels"),
    [
        *((case, (1, 3)[k // 2 % 2]) for k, case in enumerate(PACKED)),
        *((case, 15) for case in PACKED[:2]),  # takes LLVM long
    ],
)
def test_packs_the_codes(case, levels, target):
    width = width_of(case)
    plan, (codes, values, bias, _) = plan_of(case, width, target), operands(case, width, 1)
    sums = convolve(codes, values, case, width, 0) + bias
    thresholds = thresholds_of(sums, levels, np.random.default_rng(1))
    function = kernel(plan, packed_codes, [(thresholds.shape, "int32")])
    x = prepared(codes, case, width, plan, 0, np.random.default_rng(1))
    arrays = [x, pack_weights(width.weight_planes(values), plan), bias, thresholds]
    expected = packed_reference(sums, thresholds)
    np.testing.assert_array_equal(run(build(function, target), arrays, expected), expected)


def test_reads_only_what_is_prepared(target):
    case = Case((1, 6, 14, 64), 48)
    width = Width("xor", 1, 1)
    plan = plan_of(case, width, target)
    assert not plan.parallel
    codes, values, bias, _ = operands(case, width, 1)
    library = build(kernel(plan, lambda sums: sums, []), target)
    x = prepared(codes, case, width, plan, 0, np.random.default_rng(1))
    sums = (convolve(codes, values, case, width, 0) + bias).astype("int32")
    assert x.nbytes % 64 == 0
    assert reads_only(library, [x, pack_weights(width.weight_planes(values), plan), bias], sums)


def test_runs_in_parallel(target):
    case = Case((1, 28, 28, 256), 128)
    width = Width("and", 2, 1)
    plan = plan_of(case, width, target)
    assert plan.parallel
    codes, values, bias, scale = operands(case, width, 1)
    library = build(kernel(plan, requantized, [(scale.shape, "float32")]), target)
    x = prepared(codes, case, width, plan, 0, np.random.default_rng(1))
    arrays = [x, pack_weights(width.weight_planes(values), plan), bias, scale]
    expected = requantized_reference(convolve(codes, values, case, width, 0) + bias, scale)
    np.testing.assert_array_equal(run(library, arrays, expected), expected)


@pytest.mark.parametrize("name", INT8_TARGETS)
def test_tiles_are_whole_words_of_outputs(name):
    for width in WIDTHS:
        plan = plan_of(CASES[0], width, int8_target(name))
        assert plan.word_tiles * plan.tile_vectors * plan.popcount.lanes % 32 == 0


def test_plan_survives_json():
    plan = plan_of(CASES[4], WIDTHS[4], load_target("znver4"))
    assert Conv2dBitsPlan.from_json(plan.to_json()) == plan
