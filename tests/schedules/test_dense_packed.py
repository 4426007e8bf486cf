"""dense_packed against NumPy, exactly, with and without a fused epilogue."""

import numpy as np
import pytest

from qcompile.schedules.dense_packed import (
    DensePackedPlan,
    dense_packed,
    pack_weights,
    plan_dense_packed,
)
from qcompile.targets import load_target
from tests.schedules.covering import on_targets
from tests.schedules.kernels import (
    ARM_TARGETS,
    INT8_TARGETS,
    build,
    compensated,
    fused_function,
    int8_target,
    reads_only,
    requantized,
    requantized_reference,
    run,
    runnable,
)

# (rows, depth, columns): dividing the tiles, then primes and other odd sizes.
SHAPES = [
    *((1, 512, 1000), (1, 30, 10), (2, 64, 16), (3, 96, 33), (8, 64, 256), (13, 17, 5)),
    *((37, 24, 72), (1, 3, 1), (1, 65792, 16)),
]


TARGETS = [*INT8_TARGETS, *ARM_TARGETS]


@pytest.fixture(params=TARGETS)
def target(request):
    return runnable(int8_target(request.param))


def operands(plan, depth, seed):
    """x filled up with anything, w, bias, scale; the first seed has the extremes."""
    rng = np.random.default_rng(seed)
    shape, largest = (plan.dense.columns, depth), 2 ** (plan.bits - 1)
    x = rng.integers(0, 256, plan.dense.input_shape, dtype="uint8")
    w = rng.integers(-largest, largest, shape, dtype="int8")
    if seed == 0:
        x[:], w[:] = 255, -largest
    scale = rng.random(plan.dense.columns, "float32") * np.float32(1e-3)
    return x, w, rng.integers(-(2**20), 2**20, plan.dense.columns, dtype="int32"), scale


def constants(w, bias, plan):
    return pack_weights(w, plan), compensated(bias, w, plan.dense.offset)


def product(x, w, bias):
    """The sums, exact in float64: they stay below 2**53."""
    return (x[:, : w.shape[1]].astype("float64") @ w.T.astype("float64")).astype("int64") + bias


def kernel(plan, epilogue, extra):
    vector = (plan.dense.columns,)
    inputs = [(plan.dense.input_shape, "uint8"), (plan.weight_shape, "int8"), (vector, "int32")]
    return fused_function(
        [*inputs, *extra], lambda x, w, b: dense_packed(x, w, b, plan, "layer"), epilogue, 3
    )


@on_targets(
    3,
    TARGETS,
    ("shape", "bits"),
    [(shape, bits) for k, shape in enumerate(SHAPES) for bits in ((2, 4), (4,))[k % 2]],
)
def test_multiplies_and_requantizes(shape, bits, target):
    plan = plan_dense_packed(*shape, bits, target)
    library = build(kernel(plan, requantized, [(shape[2:], "float32")]), target)
    for seed in range(3):
        x, w, bias, scale = operands(plan, shape[1], seed)
        expected = requantized_reference(product(x, w, bias), scale)
        y = run(library, [x, *constants(w, bias, plan), scale], expected)
        np.testing.assert_array_equal(y, expected)


@on_targets(3, TARGETS, "rows", [1, 3, 13])
def test_gives_the_sums_and_reads_no_row_beyond_the_last(rows, target):
    plan = plan_dense_packed(rows, 64, 48, 4, target)
    assert not plan.dense.parallel
    x, w, bias, _ = operands(plan, 64, 0)
    library = build(kernel(plan, lambda sums: sums, []), target)
    sums = product(x, w, bias).astype("int32")
    arrays = [x, *constants(w, bias, plan)]
    np.testing.assert_array_equal(run(library, arrays, sums), sums)
    assert reads_only(library, arrays, sums)


def test_takes_half_or_a_quarter_of_the_bytes():
    target = load_target("znver4")
    size = {
        bits: np.prod(plan_dense_packed(1, 512, 1024, bits, target).weight_shape) for bits in (2, 4)
    }
    assert size == {4: 512 * 1024 // 2, 2: 512 * 1024 // 4}


def test_plan_survives_json():
    plan = plan_dense_packed(3, 97, 33, 4, load_target("znver4"))
    assert DensePackedPlan.from_json(plan.to_json()) == plan
