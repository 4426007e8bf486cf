"""Packing alone, behind int8 kernels, and behind what has no kernel of its own."""

import itertools

import numpy as np
import pytest
from scipy.special import softmax
from tvm import relax, te, tirx, topi

from qcompile.schedules.conv2d_int8 import conv2d_int8
from qcompile.schedules.conv2d_int8 import pack_weights as pack_kernels
from qcompile.schedules.conv2d_plan import plan_conv2d
from qcompile.schedules.dense_int8 import dense_int8, pack_weights, plan_dense
from qcompile.schedules.pack_bits import pack_bits
from qcompile.schedules.pool2d_int8 import pool2d_int8
from qcompile.schedules.pool2d_plan import Pool2dProblem, pool2d_plan
from qcompile.schedules.rounding import to_nearest
from tests.schedules.bits import packed_words
from tests.schedules.covering import on_targets
from tests.schedules.kernels import (
    ARM_TARGETS,
    INT8_TARGETS,
    build,
    compensated,
    fused_function,
    int8_target,
    run,
    runnable,
)
from tests.schedules.packing import packed, packed_codes, packed_reference, thresholds_of

CHANNELS = [1, 5, 31, 32, 33, 64, 80, 96, 127, 160]


TARGETS = [*INT8_TARGETS, *ARM_TARGETS]


@pytest.fixture(params=TARGETS)
def target(request):
    return runnable(int8_target(request.param))


@on_targets(2, TARGETS, ("channels", "bits"), list(itertools.product(CHANNELS, (1, 2, 4))))
def test_packs(channels, bits, target):
    codes = np.random.default_rng(0).integers(0, 2**bits, (2, 3, 5, channels), dtype="uint8")
    function = fused_function(
        [(codes.shape, "uint8")], lambda x: pack_bits(x, bits), lambda packed: packed, 1
    )
    expected = packed_words([(codes >> i) & 1 for i in range(bits)])
    np.testing.assert_array_equal(run(build(function, target), [codes], expected), expected)


@on_targets(3, TARGETS, "channels", [6, 64, 80, 99])
def test_starts_every_group_at_a_new_word(channels, target):
    groups = 3 if channels % 3 == 0 else 2
    codes = np.random.default_rng(0).integers(0, 4, (1, 3, 5, channels), dtype="uint8")
    function = fused_function(
        [(codes.shape, "uint8")], lambda x: pack_bits(x, 2, groups), lambda packed: packed, 1
    )
    parts = [packed_words([part & 1, part >> 1]) for part in np.split(codes, groups, -1)]
    expected = np.concatenate(parts, -1)
    np.testing.assert_array_equal(run(build(function, target), [codes], expected), expected)


@on_targets(3, TARGETS, "shape", [(1, 4, 4, 64), (2, 3, 5, 33)])
def test_quantizes_and_packs(shape, target):
    x = np.random.default_rng(0).normal(1, 1, shape).astype("float32")

    def compute(values):
        codes = te.compute(
            shape,
            lambda *i: tirx.min(tirx.max(tirx.round(values(*i)), 0.0), 3.0).astype("uint8"),
            name="codes",
        )
        return pack_bits(codes, 2)

    function = fused_function([(shape, "float32")], compute, lambda packed: packed, 1)
    codes = np.clip(np.rint(x), 0, 3).astype("uint8")
    expected = packed_words([codes & 1, codes >> 1])
    np.testing.assert_array_equal(run(build(function, target), [x], expected), expected)


@on_targets(3, TARGETS, "channels", [3, 4, 35])
def test_quantizes_images_and_packs(channels, target):
    """Channels that fill no vector, rounded by an instruction of the target."""
    x = np.random.default_rng(0).normal(1, 1, (1, channels, 4, 4)).astype("float32")

    def compute(values):
        codes = te.compute(
            (1, 4, 4, channels),
            lambda n, i, j, c: to_nearest(
                tirx.max(tirx.min(values(n, c, i, j) / tirx.const(0.75, "float32"), 3.0), 0.0)
            ).astype("uint8"),
            name="codes",
        )
        return pack_bits(codes, 2)

    function = fused_function([(x.shape, "float32")], compute, lambda packed: packed, 1)
    codes = np.clip(np.rint(x / np.float32(0.75)), 0, 3).astype("uint8").transpose(0, 2, 3, 1)
    expected = packed_words([codes & 1, codes >> 1])
    np.testing.assert_array_equal(run(build(function, target), [x], expected), expected)


@on_targets(
    3,
    TARGETS,
    ("shape", "levels"),
    list(itertools.product([(49, 64, 64), (13, 32, 96), (5, 17, 33), (3, 8, 5)], (1, 3))),
)
def test_packs_behind_dense_int8(shape, levels, target):
    _, depth, columns = shape
    rng = np.random.default_rng(0)
    plan = plan_dense(*shape, target)
    x = rng.integers(0, 256, plan.input_shape, dtype="uint8")
    w = rng.integers(-128, 128, (columns, depth), dtype="int8")
    bias = rng.integers(-1000, 1000, columns, dtype="int32")
    sums = x[:, :depth].astype("int64") @ w.T.astype("int64") + bias
    thresholds = thresholds_of(sums, levels, rng)
    inputs = [(x.shape, "uint8"), (plan.weight_shape, "int8"), (bias.shape, "int32")]
    function = fused_function(
        [*inputs, (thresholds.shape, "int32")],
        lambda x, w, b: dense_int8(x, w, b, plan, "layer"),
        packed_codes,
        3,
    )
    arrays = [x, pack_weights(w, plan), compensated(bias, w, plan.offset), thresholds]
    expected = packed_reference(sums, thresholds)
    np.testing.assert_array_equal(run(build(function, target), arrays, expected), expected)


@on_targets(3, TARGETS, "channels", [(32, 64), (8, 33), (3, 96)])
def test_packs_behind_conv2d_int8(channels, target):
    inputs, outputs = channels
    rng = np.random.default_rng(0)
    plan = plan_conv2d((1, 7, 9, inputs), (outputs, 3, 3, inputs), target)
    x = rng.integers(0, 256, (1, 7, plan.columns, plan.channels), dtype="uint8")
    w = rng.integers(-128, 128, (outputs, 3, 3, inputs), dtype="int8")
    bias = rng.integers(-1000, 1000, outputs, dtype="int32")
    sums = np.stack(
        [
            np.tensordot(
                x[0, i : i + 3, j : j + 3, :inputs].astype("int64"), w, ((0, 1, 2), (1, 2, 3))
            )
            for i in range(5)
            for j in range(7)
        ]
    )
    sums = sums.reshape(1, 5, 7, outputs) + bias
    thresholds = thresholds_of(sums, 3, rng)
    function = fused_function(
        [
            (plan.input_shape, "uint8"),
            (plan.weight_shape, "int8"),
            (bias.shape, "int32"),
            (thresholds.shape, "int32"),
        ],
        lambda x, w, b: conv2d_int8(x, w, b, plan, "layer"),
        packed_codes,
        3,
    )
    bias = compensated(bias, w, plan.offset)
    arrays = [x.reshape(plan.input_shape), pack_kernels(w, plan), bias, thresholds]
    expected = packed_reference(sums, thresholds)
    np.testing.assert_array_equal(run(build(function, target), arrays, expected), expected)


@on_targets(3, TARGETS, "shape", [(1, 6, 6, 64), (1, 5, 5, 33)])
def test_packs_behind_a_pool(shape, target):
    x = np.random.default_rng(0).integers(0, 4, shape, dtype="uint8")
    problem = Pool2dProblem(shape, "uint8", largest=True, kernel=(2, 2), strides=(2, 2))
    plan = pool2d_plan(problem, target)
    function = fused_function(
        [(shape, "uint8")],
        lambda x: pool2d_int8(x, plan),
        lambda pooled: packed(pooled, 2),
        1,
    )
    size = shape[1] // 2 * 2
    windows = x[:, :size, :size].reshape(1, size // 2, 2, size // 2, 2, shape[3])
    codes = windows.max((2, 4))
    expected = packed_words([codes & 1, codes >> 1])
    np.testing.assert_array_equal(run(build(function, target), [x], expected), expected)


def test_packs_the_codes_of_a_softmax(target):
    """What has sums has the generic schedules."""
    x = np.random.default_rng(0).normal(0, 2, (6, 64)).astype("float32")

    def epilogue(values):
        builder = relax.BlockBuilder.current()
        codes = relax.op.astype(
            relax.op.round(relax.op.multiply(values, relax.const(255, "float32"))), "uint8"
        )
        return packed(builder.emit(codes), 8)

    function = fused_function([(x.shape, "float32")], topi.nn.softmax, epilogue, 1)
    values = softmax(x.astype("float64"), 1) * 255
    assert np.abs(values % 1 - 0.5).min() > 1e-4  # ten times what float32 may be off
    codes = np.rint(values).astype("uint8")
    expected = packed_words([(codes >> i) & 1 for i in range(8)])
    np.testing.assert_array_equal(run(build(function, target), [x], expected), expected)
