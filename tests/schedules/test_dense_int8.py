"""dense_int8 against NumPy, exactly, with and without a fused epilogue."""

from dataclasses import replace

import numpy as np
import pytest

from qcompile.schedules.dense_int8 import dense_int8, pack_weights, plan_dense
from qcompile.targets import load_target
from tests.schedules.covering import on_targets
from tests.schedules.kernels import (
    EMULATED_TARGETS,
    INT8_TARGETS,
    build,
    compensated,
    fused_function,
    int8_target,
    reads_only,
    requantized,
    requantized_reference,
    requantized_with_residual,
    residual_reference,
    run,
    runnable,
)

# (rows, depth, columns): dividing the tiles, then primes and other odd sizes.
SHAPES = [
    *((1, 512, 1000), (1, 30, 10), (2, 64, 16), (3, 96, 33), (8, 64, 256), (13, 17, 5)),
    *((37, 24, 72), (49, 64, 160), (53, 40, 6625), (64, 128, 64), (169, 16, 21), (1, 3, 1)),
]


TARGETS = [*INT8_TARGETS, *EMULATED_TARGETS]


@pytest.fixture(params=TARGETS)
def target(request):
    return runnable(int8_target(request.param))


def operands(plan, depth, seed):
    """x filled up with anything, w, bias, scale."""
    rng = np.random.default_rng(seed)
    shape = plan.columns, depth
    if seed == 0:
        x = rng.choice(np.array([0, 255], "uint8"), plan.input_shape)
        w = rng.choice(np.array([-128, 127], "int8"), shape)
    else:
        x = rng.integers(0, 256, plan.input_shape, dtype="uint8")
        w = rng.integers(-128, 128, shape, dtype="int8")
    scale = rng.random(plan.columns, "float32") * np.float32(1e-3)
    return x, w, rng.integers(-(2**20), 2**20, plan.columns, dtype="int32"), scale


def constants(w, bias, plan):
    return pack_weights(w, plan), compensated(bias, w, plan.offset)


def product(x, w, bias):
    """The sums, exact in float64: they stay below 2**53."""
    return (x[:, : w.shape[1]].astype("float64") @ w.T.astype("float64")).astype("int64") + bias


def kernel(plan, epilogue, extra):
    vector = (plan.columns,)
    inputs = [(plan.input_shape, "uint8"), (plan.weight_shape, "int8"), (vector, "int32"), *extra]
    return fused_function(inputs, lambda x, w, b: dense_int8(x, w, b, plan, "layer"), epilogue, 3)


@on_targets(4, TARGETS, "shape", SHAPES)
def test_multiplies_and_requantizes(shape, target):
    plan = plan_dense(*shape, target)
    library = build(kernel(plan, requantized, [(shape[2:], "float32")]), target)
    for seed in range(3):
        x, w, bias, scale = operands(plan, shape[1], seed)
        expected = requantized_reference(product(x, w, bias), scale)
        y = run(library, [x, *constants(w, bias, plan), scale], expected)
        np.testing.assert_array_equal(y, expected)


@on_targets(4, TARGETS, "shape", SHAPES[:6])
def test_gives_the_sums(shape, target):
    plan = plan_dense(*shape, target)
    x, w, bias, _ = operands(plan, shape[1], 0)
    expected = product(x, w, bias).astype("int32")
    library = build(kernel(plan, lambda sums: sums, []), target)
    np.testing.assert_array_equal(run(library, [x, *constants(w, bias, plan)], expected), expected)


@on_targets(4, TARGETS, "shape", SHAPES[6:8])
def test_adds_a_residual(shape, target):
    plan = plan_dense(*shape, target)
    x, w, bias, scale = operands(plan, shape[1], 1)
    sums = product(x, w, bias)
    residual = np.random.default_rng(2).integers(0, 256, sums.shape, dtype="uint8")
    extra = [(scale.shape, "float32"), (sums.shape, "uint8")]
    library = build(kernel(plan, requantized_with_residual, extra), target)
    expected = residual_reference(sums, scale, residual)
    y = run(library, [x, *constants(w, bias, plan), scale, residual], expected)
    np.testing.assert_array_equal(y, expected)


@on_targets(4, TARGETS, "rows", [1, 3, 13, 49])
def test_reads_no_row_beyond_the_last(rows, target):
    plan = replace(plan_dense(rows, 64, 48, target), chunks="none")
    x, w, bias, _ = operands(plan, 64, 1)
    library = build(kernel(plan, lambda sums: sums, []), target)
    sums = product(x, w, bias).astype("int32")
    assert reads_only(library, [x, *constants(w, bias, plan)], sums)


def test_leaves_small_kernels_to_one_thread():
    target = load_target("znver4")
    assert not plan_dense(1, 512, 1000, target).parallel
    assert plan_dense(128, 768, 768, target).parallel
