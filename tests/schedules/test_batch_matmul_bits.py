"""batch_matmul_bits against NumPy, exactly, and what brings its operands into order."""

import numpy as np
import pytest

from qcompile.schedules.batch_matmul_bits import (
    batch_matmul_bits,
    bit_sums,
    column_bit_sums,
    pack_code_columns,
    word_columns,
)
from qcompile.schedules.dense_bits_plan import plan_dense_bits
from tests.schedules.bits import Width, packed_words, weighted_sum
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

# (batch, rows, depth, columns)
SHAPES = [(2, 16, 64, 32), (3, 13, 33, 21), (1, 128, 768, 128), (4, 1, 40, 7)]
WIDTHS = [Width("xor", 1, 1), Width("and", 2, 2), Width("xor", 2, 1)]


TARGETS = [*INT8_TARGETS, *ARM_TARGETS]


@pytest.fixture(params=TARGETS)
def target(request):
    return runnable(int8_target(request.param))


def operands(width, shape):
    batch, rows, depth, columns = shape
    rng = np.random.default_rng(0)
    return width.data(rng, (batch, rows, depth)), width.weights(rng, (batch, columns, depth))


@on_targets(
    3,
    TARGETS,
    ("shape", "width"),
    [
        *((shape, WIDTHS[0]) for shape in SHAPES),
        *((SHAPES[k], width) for k in (1, 3) for width in WIDTHS[1:]),
    ],
)
def test_multiplies(shape, width, target):
    batch, rows, depth, columns = shape
    codes, values = operands(width, shape)
    plan = plan_dense_bits(rows, depth, columns, width.planes, target, batch=batch, start=5)
    planes = width.weight_planes(values)
    words = packed_words(list(planes))
    ordered = run(
        build(
            fused_function([(words.shape, "uint32")], lambda w: word_columns(w, plan), same, 1),
            target,
        ),
        [words],
        np.zeros(plan.weight_shape, "uint32"),
    )
    function = fused_function(
        [(plan.input_shape, "uint32"), (plan.weight_shape, "uint32")],
        lambda x, w: batch_matmul_bits(x, w, plan, "layer"),
        same,
        2,
    )
    expected = np.stack([weighted_sum(width, c, v) for c, v in zip(codes, values, strict=True)]) + 5
    x = packed_words(width.data_planes(codes))
    y = run(build(function, target), [x, ordered], expected.astype("int32"))
    np.testing.assert_array_equal(y, expected)


@on_targets(3, TARGETS, "shape", SHAPES)
def test_packs_columns_of_codes(shape, target):
    batch, rows, depth, columns = shape
    width = Width("and", 2, 2)
    plan = plan_dense_bits(rows, depth, columns, width.planes, target, batch=batch)
    codes = np.random.default_rng(0).integers(0, 4, (batch, depth, columns), dtype="uint8")
    function = fused_function(
        [(codes.shape, "uint8")], lambda w: pack_code_columns(w, plan), same, 1
    )
    lanes = plan.popcount.lanes
    full = np.zeros((batch, plan.vectors * lanes, depth), "uint8")
    full[:, :columns] = codes.transpose(0, 2, 1)
    words = packed_words([full & 1, full >> 1])
    split = words.reshape(batch, plan.vectors, lanes, 2, plan.words)
    expected = np.ascontiguousarray(split.transpose(0, 1, 4, 3, 2))
    np.testing.assert_array_equal(run(build(function, target), [codes], expected), expected)


def test_sums_the_bits(target):
    codes = np.random.default_rng(0).integers(0, 4, (2, 5, 100), dtype="uint8")
    words = packed_words([codes & 1, codes >> 1])
    function = fused_function([(words.shape, "uint32")], lambda x: bit_sums(x, (1, -2)), same, 1)
    expected = ((codes & 1).astype("int32") - 2 * (codes >> 1)).sum(-1, dtype="int32")
    np.testing.assert_array_equal(run(build(function, target), [words], expected), expected)


@on_targets(3, TARGETS, "shape", SHAPES)
def test_sums_the_bits_of_columns(shape, target):
    batch, rows, depth, columns = shape
    plan = plan_dense_bits(rows, depth, columns, Width("and", 2, 2).planes, target, batch=batch)
    words = np.random.default_rng(0).integers(0, 2**32, plan.weight_shape, dtype="uint32")
    function = fused_function(
        [(words.shape, "uint32")], lambda w: column_bit_sums(w, (3, -5), plan), same, 1
    )
    counts = np.unpackbits(words.view("uint8"), axis=-1).reshape(*words.shape, 32)
    sums = counts.sum(axis=(2, 5), dtype="int32")  # over words and bits: (N, vectors, 2, lanes)
    both = 3 * sums[:, :, 0] - 5 * sums[:, :, 1]
    expected = np.ascontiguousarray(both.reshape(batch, -1)[:, :columns], "int32")
    np.testing.assert_array_equal(run(build(function, target), [words], expected), expected)


def same(value):
    return value
