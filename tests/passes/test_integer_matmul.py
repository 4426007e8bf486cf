import numpy as np
import pytest
from tvm import relax

from qcompile.passes.integer_matmul import IntegerMatmul
from qcompile.passes.integer_weights import INT32_MAX
from tests.passes.modules import (
    assert_same,
    attribute,
    calls,
    const,
    constants,
    dequantized,
    module,
    operators,
    run,
)

RNG = np.random.default_rng(0)


def random_codes(shape, dtype):
    info = np.iinfo(dtype)
    return RNG.integers(info.min, info.max + 1, shape).astype(dtype)


def product(w, zero=0, *, shape=(2, 3, 7), dtype="uint8", a_zero=3, scale=0.5, axis=-1, bits=8):
    """dequantize(a) @ dequantize(w), w constant."""

    def body(emit, a):
        a = emit(dequantized(a, 0.25, a_zero))
        w_real = emit(dequantized(w, scale, zero, axis=axis, bits=bits))
        return emit(relax.op.matmul(a, w_real), name_hint="/fc")

    return module(body, (shape, dtype))


@pytest.mark.parametrize("shape", [(1, 7), (5, 7), (2, 3, 7), (2, 1, 3, 7)])
@pytest.mark.parametrize(("dtype", "a_zero"), [("uint8", 255), ("int8", -128)])
def test_keeps_the_numbers(shape, dtype, a_zero):
    w, scale = random_codes((7, 5), "int8"), np.float32([0.5, -0.1, 3, 0, 1])
    mod = IntegerMatmul()(product(w, shape=shape, dtype=dtype, a_zero=a_zero, scale=scale, axis=1))
    assert operators(mod) == ["dense", "dequantize"]
    a = random_codes(shape, dtype)
    sums = (a.astype("int64") - a_zero) @ w.astype("int64")
    ratio = (scale.astype("float64") * 0.25).astype("float32")
    np.testing.assert_array_equal(run(mod, a), sums.astype("float32") * ratio)


@pytest.mark.parametrize(
    ("dtype", "zero"), [("uint8", 0), ("uint8", 128), ("int8", -128), ("uint8", [0, 255, 128, 9])]
)
def test_weights_with_a_zero_point(dtype, zero):
    w = random_codes((7, 4), dtype)
    w[:2, 0] = np.iinfo(dtype).min, np.iinfo(dtype).max
    mod = IntegerMatmul()(product(w, zero, axis=1))
    assert len(calls(mod, "qcompile.dense")) == (1 if zero == 128 else 2)
    a = random_codes((2, 3, 7), "uint8")
    sums = (a.astype("int64") - 3) @ (w.astype("int64") - np.asarray(zero))
    np.testing.assert_array_equal(run(mod, a), sums * 0.125)


def test_names_the_layer_and_packs_the_weights_by_column():
    w = random_codes((7, 5), "int8")
    (call,) = calls(IntegerMatmul()(product(w, bits=5)), "qcompile.dense")
    assert attribute(call, "layer") == "/fc"
    assert attribute(call, "zero_point") == 3
    assert (attribute(call, "a_bits"), attribute(call, "w_bits")) == (8, 5)
    np.testing.assert_array_equal(constants(call)[0], w.T)


BATCHES = {
    "matrices": ((3, 4), (4, 5)),
    "batches": ((2, 3, 4), (2, 4, 5)),
    "heads": ((2, 2, 3, 4), (2, 2, 4, 5)),
    "rank_5": ((2, 1, 2, 3, 4), (2, 1, 2, 4, 5)),
}


def batched(left, right, a=("uint8", 3), b=("int8", -7), b_scale=0.5):
    def body(emit, x, y):
        x, y = emit(dequantized(x, 0.25, a[1])), emit(dequantized(y, b_scale, b[1]))
        return emit(relax.op.matmul(x, y), name_hint="/scores")

    return module(body, (left, a[0]), (right, b[0]))


@pytest.mark.parametrize("case", BATCHES)
@pytest.mark.parametrize(("a", "b"), [(("uint8", 255), ("int8", 127)), (("int8", 0), ("uint8", 0))])
def test_products_of_two_computed_matrices(case, a, b):
    left, right = BATCHES[case]
    mod = IntegerMatmul()(batched(left, right, a, b))
    assert operators(mod) == ["batch_matmul", "dequantize"]
    x, y = random_codes(left, a[0]), random_codes(right, b[0])
    sums = (x.astype("int64") - a[1]) @ (y.astype("int64") - b[1])
    np.testing.assert_array_equal(run(mod, x, y), sums * 0.125)


def test_a_constant_on_the_left():
    left = random_codes((3, 4), "int8")

    def body(emit, y):
        return relax.op.matmul(emit(dequantized(left, 0.25, 9)), emit(dequantized(y, 0.5, 200)))

    mod = IntegerMatmul()(module(body, ((4, 5), "uint8")))
    assert operators(mod) == ["batch_matmul", "dequantize"]
    y = random_codes((4, 5), "uint8")
    sums = (left.astype("int64") - 9) @ (y.astype("int64") - 200)
    np.testing.assert_array_equal(run(mod, y), sums * 0.125)


def deep(depth, rows=1):
    return product(np.full((depth, 1), 127, "int8"), shape=(rows, depth), a_zero=0)


def test_sums_at_the_limit():
    depth = INT32_MAX // 2 // (127 * 255)
    mod = IntegerMatmul()(deep(depth))
    a = np.full((1, depth), 255, "uint8")
    np.testing.assert_array_equal(
        run(mod, a), np.float32([[depth * 127 * 255]]) * np.float32(0.125)
    )
    assert_same(IntegerMatmul()(deep(depth + 1)), deep(depth + 1))


def vector(shape, dtype="uint8"):
    """A product with a computed vector."""

    def body(emit, x, y):
        return relax.op.matmul(emit(dequantized(x, 0.5)), emit(dequantized(y, 0.5)))

    return module(body, (shape, dtype), ((7,), dtype))


def constant_vector(emit, x):
    return relax.op.matmul(emit(dequantized(x, 0.5)), emit(dequantized(np.ones(7, "int8"), 0.5)))


def float_weights(emit, x):
    return relax.op.matmul(emit(dequantized(x, 0.5)), const(np.ones((7, 2))))


DEPTH = INT32_MAX // 2 // (255 * 255) + 1
ONES = np.ones((7, 7), "int8")
NEAR_MISSES = {
    "vector": vector((7, 7)),
    "row_vector": vector((7,)),
    "constant_vector": module(constant_vector, ((7, 7), "uint8")),
    "float_weights": module(float_weights, ((7, 7), "uint8")),
    "scales_of_the_rows": product(ONES, np.zeros(7), axis=0),
    "zeros_of_the_data": product(ONES, a_zero=np.arange(7)),
    "int16_data": product(ONES, dtype="int16"),
    "int16_weights": product(ONES.astype("int16"), bits=16),
    "broadcast_batches": batched((2, 3, 4), (1, 4, 5)),
    "batches_of_one_side": batched((2, 3, 4), (4, 5)),
    "scales_per_column": batched((3, 4), (4, 5), b_scale=np.ones(5)),
    "deep_batches": batched((1, DEPTH), (DEPTH, 1)),
}


@pytest.mark.parametrize("case", NEAR_MISSES)
def test_leaves_alone(case):
    assert_same(IntegerMatmul()(NEAR_MISSES[case]), NEAR_MISSES[case])
