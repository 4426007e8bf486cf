"""dense_bits against NumPy, exactly, with and without a fused epilogue."""

import itertools

import numpy as np
import pytest

from qcompile.schedules.bit_product import Planes
from qcompile.schedules.dense_bits import pack_weights
from qcompile.schedules.dense_bits_plan import DenseBitsPlan, plan_dense_bits
from qcompile.targets import host_features, load_target
from tests.schedules.bit_products import arrays_of, kernel, operands
from tests.schedules.bits import WIDTHS, Width, packed_words, weighted_sum
from tests.schedules.covering import on_targets
from tests.schedules.kernels import (
    INT8_TARGETS,
    build,
    int8_target,
    reads_only,
    requantized,
    requantized_reference,
    run,
)
from tests.schedules.packing import packed_codes, packed_reference, thresholds_of

# (rows, depth, columns): dividing the tiles, then primes and other odd sizes.
SHAPES = [
    *((1, 512, 1000), (2, 64, 16), (3, 97, 33), (8, 64, 256), (13, 17, 5), (37, 1184, 72)),
    *((49, 2304, 160), (53, 40, 663), (64, 128, 64), (1, 3, 1)),
]
FIRST = Width("xor", 1, 1)


TARGETS = INT8_TARGETS


@pytest.fixture(params=TARGETS)
def target(request):
    found = int8_target(request.param)
    if not found.runs_on(host_features()):
        pytest.skip(f"this processor cannot run {found.name}")
    return found


@on_targets(2, TARGETS, "width", WIDTHS)
def test_multiplies_planes(width, target):
    for shape in (SHAPES[2], SHAPES[6]):
        plan = plan_dense_bits(*shape, width.planes, target)
        library = build(kernel(plan, lambda sums: sums, []), target)
        for seed in range(3):
            codes, values, bias, _ = operands(width, shape, seed)
            expected = (weighted_sum(width, codes, values) + bias).astype("int32")
            y = run(library, [*arrays_of(width, codes, values, plan), bias], expected)
            np.testing.assert_array_equal(y, expected)


@on_targets(2, TARGETS, "shape", SHAPES)
def test_multiplies_and_requantizes(shape, target):
    width = WIDTHS[sum(shape) % 4]
    plan = plan_dense_bits(*shape, width.planes, target)
    library = build(kernel(plan, requantized, [(shape[2:], "float32")]), target)
    for seed in range(2):
        codes, values, bias, scale = operands(width, shape, seed)
        expected = requantized_reference(weighted_sum(width, codes, values) + bias, scale)
        y = run(library, [*arrays_of(width, codes, values, plan), bias, scale], expected)
        np.testing.assert_array_equal(y, expected)


PACKED = [*SHAPES[3:7], (49, 512, 96), (3, 97, 64)]


@on_targets(2, TARGETS, ("shape", "levels"), list(itertools.product(PACKED, (1, 3))))
def test_packs_the_codes(shape, levels, target):
    width = WIDTHS[sum(shape) % len(WIDTHS)]
    plan, (codes, values, bias, _) = (
        plan_dense_bits(*shape, width.planes, target),
        operands(width, shape, 1),
    )
    sums = weighted_sum(width, codes, values) + bias
    thresholds = thresholds_of(sums, levels, np.random.default_rng(1))
    function = kernel(plan, packed_codes, [(thresholds.shape, "int32")])
    arrays = [*arrays_of(width, codes, values, plan), bias, thresholds]
    expected = packed_reference(sums, thresholds)
    np.testing.assert_array_equal(run(build(function, target), arrays, expected), expected)


def test_weighs_planes_by_any_number(target):
    weights = ((0.3, -1.7), (1e-3, 5.25))
    plan = plan_dense_bits(5, 70, 33, Planes("xor", weights), target)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (2, 5, 70), dtype="uint8")
    w = rng.integers(0, 2, (2, 33, 70), dtype="uint8")
    expected = bias = rng.random(33, "float32")
    for i in range(2):
        for j in range(2):
            count = (x[i][:, None] ^ w[j][None]).sum(-1).astype("float32")
            expected = expected + np.float32(weights[i][j]) * count
    library = build(kernel(plan, lambda sums: sums, []), target)
    y = run(library, [packed_words(list(x)), pack_weights(w, plan), bias], expected)
    np.testing.assert_array_equal(y, expected)


@on_targets(2, TARGETS, "rows", [1, 2, 3, 13, 37, 48])
def test_reads_no_row_beyond_the_last(rows, target):
    shape = rows, 512, 48
    plan = plan_dense_bits(*shape, FIRST.planes, target)
    assert not plan.parallel
    codes, values, bias, _ = operands(FIRST, shape, 1)
    library = build(kernel(plan, lambda sums: sums, []), target)
    expected = (weighted_sum(FIRST, codes, values) + bias).astype("int32")
    assert reads_only(library, [*arrays_of(FIRST, codes, values, plan), bias], expected)


def test_leaves_small_kernels_to_one_thread():
    target = load_target("znver4")
    assert not plan_dense_bits(1, 512, 1000, FIRST.planes, target).parallel
    assert plan_dense_bits(128, 3072, 768, FIRST.planes, target).parallel


def test_plan_survives_json():
    plan = plan_dense_bits(3, 97, 33, Planes("and", ((1, -2), (0.5, 4))), load_target("znver4"))
    assert DenseBitsPlan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize("columns", [41, 45])
def test_requantizes_columns_that_leave_a_part_of_a_vector_in_a_later_tile(columns, target):
    shape, width = (5, 992, columns), FIRST
    plan = plan_dense_bits(*shape, width.planes, target)
    codes, values, bias, scale = operands(width, shape, 1)
    expected = requantized_reference(weighted_sum(width, codes, values) + bias, scale)
    library = build(kernel(plan, requantized, [(scale.shape, "float32")]), target)
    arrays = [*arrays_of(width, codes, values, plan), bias, scale]
    np.testing.assert_array_equal(run(library, arrays, expected), expected)
