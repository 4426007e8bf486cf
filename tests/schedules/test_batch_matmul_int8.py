"""Products of run-time matrices against NumPy, exactly."""

import itertools

import numpy as np
import pytest
from tvm import te

from qcompile.schedules.batch_matmul_int8 import (
    batch_matmul_int8,
    column_sums,
    pack_columns,
    row_sums,
)
from qcompile.schedules.dense_int8 import plan_dense
from tests.schedules.covering import on_targets
from tests.schedules.kernels import (
    EMULATED_TARGETS,
    INT8_TARGETS,
    build,
    fused_function,
    int8_target,
    requantized,
    requantized_reference,
    run,
    runnable,
)

# (batch, rows, depth, columns)
SHAPES = [(3, 16, 64, 32), (1, 1, 7, 3), (2, 37, 50, 21), (4, 8, 16, 16), (2, 5, 33, 64)]
LARGE = (12, 128, 64, 128)


TARGETS = [*INT8_TARGETS, *EMULATED_TARGETS]


@pytest.fixture(params=TARGETS)
def target(request):
    return runnable(int8_target(request.param))


def matrix(shape, dtype, seed):
    rng, info = np.random.default_rng(seed), np.iinfo(dtype)
    if seed == 0:
        return rng.choice(np.array([info.min, info.max], dtype), shape)
    return rng.integers(info.min, info.max + 1, shape, dtype=dtype)


def signed(b):
    return b.astype("int64") - (128 if b.dtype == np.uint8 else 0)


def packed_reference(b, plan):
    """signed(b) filled up with zeros, in the order of `plan.weight_shape`."""
    batch, vectors, steps, lanes, depth = plan.weight_shape
    full = np.zeros((batch, steps * depth, vectors * lanes), "int8")
    full[:, : b.shape[1], : b.shape[2]] = signed(b)
    return full.reshape(batch, steps, depth, vectors, lanes).transpose(0, 3, 1, 4, 2)


def identity(value):
    return value


@on_targets(
    3, TARGETS, ("shape", "dtype"), list(itertools.product([*SHAPES, LARGE], ("uint8", "int8")))
)
def test_packs_columns(shape, dtype, target):
    batch, rows, depth, columns = shape
    plan = plan_dense(rows, depth, columns, target, batch)
    b = matrix((batch, depth, columns), dtype, 1)
    inputs = [(b.shape, dtype)]
    function = fused_function(inputs, lambda b: pack_columns(b, plan), identity, 1)
    expected = packed_reference(b, plan)
    np.testing.assert_array_equal(run(build(function, target), [b], expected), expected)


@on_targets(3, TARGETS, "shape", [SHAPES[0], SHAPES[2], LARGE])
def test_packs_a_transposed_matrix(shape, target):
    batch, rows, depth, columns = shape
    plan = plan_dense(rows, depth, columns, target, batch)
    b = matrix((batch, columns, depth), "uint8", 2)

    def pack(b):
        turned = te.compute((batch, depth, columns), lambda n, k, o: b[n, o, k], name="turned")
        return pack_columns(turned, plan)

    function = fused_function([(b.shape, "uint8")], pack, identity, 1)
    expected = packed_reference(b.transpose(0, 2, 1), plan)
    np.testing.assert_array_equal(run(build(function, target), [b], expected), expected)


@on_targets(4, TARGETS, "shape", [*SHAPES, LARGE])
def test_multiplies_and_requantizes(shape, target):
    batch, rows, depth, columns = shape
    plan = plan_dense(rows, depth, columns, target, batch)
    scale = np.full(columns, 1e-3, "float32")
    function = fused_function(
        [(plan.input_shape, "uint8"), (plan.weight_shape, "int8"), (scale.shape, "float32")],
        lambda a, b: batch_matmul_int8(a, b, plan, "layer"),
        requantized,
        2,
    )
    kernel = build(function, target)
    for seed in (0, 1):
        a = matrix(plan.input_shape, "uint8", seed)
        b = matrix((batch, depth, columns), "int8", seed)
        sums = (a[..., :depth].astype("int64") - plan.offset) @ signed(b)
        expected = requantized_reference(sums, scale)
        y = run(kernel, [a, packed_reference(b, plan), scale], expected)
        np.testing.assert_array_equal(y, expected)


@on_targets(3, TARGETS, "shape", SHAPES[:3])
def test_sums_rows_and_columns(shape, target):
    batch, rows, depth, columns = shape
    a = matrix((batch, rows, depth + 3), "uint8", 0)
    function = fused_function([(a.shape, "uint8")], lambda a: row_sums(a, depth), identity, 1)
    expected = a[..., :depth].sum(axis=2, dtype="int32")
    np.testing.assert_array_equal(run(build(function, target), [a], expected), expected)
    for dtype in ("uint8", "int8"):
        b = matrix((batch, depth, columns), dtype, 1)
        function = fused_function([(b.shape, dtype)], column_sums, identity, 1)
        expected = signed(b).sum(axis=1).astype("int32")
        np.testing.assert_array_equal(run(build(function, target), [b], expected), expected)
