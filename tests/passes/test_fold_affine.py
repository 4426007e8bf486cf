import numpy as np
import pytest
from tvm import relax
from tvm.relax.op import nn

from qcompile.passes.fold_affine import FoldAffine
from tests.passes import references
from tests.passes.modules import (
    assert_same,
    calls,
    const,
    constants,
    dequantized,
    module,
    operators,
    run,
)

RNG = np.random.default_rng(0)
IMAGE = (2, 5, 4, 3)
X = RNG.integers(-4, 5, IMAGE).astype("float32")
W = RNG.integers(-4, 5, (6, 3, 2, 2)).astype("float32")
Y = references.conv2d(X, references.last(W)).astype("float32")  # (2, 4, 3, 6)
A = np.float32([0.5, -2, 0, 1, 3, -0.25])  # a negative gamma, and a dead channel
C = np.float32([1, 2, 3, -4, 5, 6])
SUMS = RNG.integers(-(2**20), 2**20, (2, 3, 6)).astype("int32")


def convolution(tail):
    """tail(conv2d(x, w)), channels last."""

    def body(emit, x):
        y = nn.conv2d(x, const(W), data_layout="NHWC", kernel_layout="OIHW")
        return tail(emit, emit(y, name_hint="/conv"))

    return module(body, (IMAGE, "float32"))


def product(tail):
    """tail(x @ w)."""

    def body(emit, x):
        return tail(emit, emit(relax.op.matmul(x, const(W.reshape(6, 12).T))))

    return module(body, ((2, 12), "float32"))


def sums(tail, scale=0.5, zero=0):
    """tail(dequantize(sums))."""

    def body(emit, x):
        return tail(emit, emit(dequantized(x, scale, zero)))

    return module(body, (SUMS.shape, "int32"))


def batch_norm(emit, y):
    return relax.op.add(emit(relax.op.multiply(y, const(A))), const(C))


def test_scales_the_weights():
    mod = FoldAffine()(convolution(lambda emit, y: relax.op.multiply(y, const(A))))
    (conv,) = calls(mod)
    np.testing.assert_array_equal(constants(conv)[0], W * A.reshape(6, 1, 1, 1))
    np.testing.assert_array_equal(run(mod, X), Y * A)


@pytest.mark.parametrize("shape", [(6,), (1, 1, 1, 6), (1, 6)])
def test_constants_of_any_rank(shape):
    def tail(emit, y):
        y = emit(relax.op.add(y, const(C.reshape(shape))))
        return relax.op.multiply(const(A.reshape(shape)), y)

    mod = FoldAffine()(convolution(tail))
    assert operators(mod) == ["conv2d", "add"]
    np.testing.assert_array_equal(run(mod, X), (Y + C) * A)


def test_gathers_a_bias_and_two_normalizations():
    def tail(emit, y):
        y = emit(relax.op.add(y, const(C.reshape(1, 1, 1, 6))))
        y = emit(batch_norm(emit, y))
        y = emit(relax.op.multiply(y, const(2.0)))
        return batch_norm(emit, y)

    mod = FoldAffine()(convolution(tail))
    assert operators(mod) == ["conv2d", "add"]
    np.testing.assert_array_equal(run(mod, X), (((Y + C) * A + C) * 2) * A + C)


def test_the_layer_keeps_its_name():
    def tail(emit, y):
        return batch_norm(emit, emit(relax.op.add(y, const(C))))

    for mod in (convolution(tail), convolution(batch_norm)):
        after = relax.transform.DeadCodeElimination()(FoldAffine()(mod))
        bindings = [b for block in after["main"].body.blocks for b in block.bindings]
        assert str(bindings[0].var.name) == "/conv"


def test_channels_first():
    def body(emit, x):
        y = emit(nn.conv2d(x, const(W)))
        return relax.op.multiply(y, const(A.reshape(6, 1, 1)))

    mod = FoldAffine()(module(body, ((2, 3, 5, 4), "float32")))
    assert operators(mod) == ["conv2d"]
    np.testing.assert_array_equal(run(mod, references.first(X).copy()), references.first(Y * A))


def test_scales_the_columns_of_a_product():
    x = RNG.integers(-4, 5, (2, 12)).astype("float32")
    mod = FoldAffine()(product(batch_norm))
    assert operators(mod) == ["matmul", "add"]
    np.testing.assert_array_equal(run(mod, x), (x @ W.reshape(6, 12).T) * A + C)


@pytest.mark.parametrize("scale", [0.5, np.float32([0.5, 0.25, 2, -1, 4, 8])])
def test_scales_sums(scale):
    mod = FoldAffine()(sums(lambda emit, y: relax.op.multiply(y, const(A)), scale))
    (call,) = calls(mod)
    np.testing.assert_array_equal(constants(call)[0], np.float32(scale) * A)
    np.testing.assert_array_equal(run(mod, SUMS), references.values(SUMS, scale) * A)


def test_products_behind_products_of_another_shape():
    rows = np.float32([1, 2, 3, 4]).reshape(4, 1, 1)

    def tail(emit, y):
        return relax.op.multiply(emit(relax.op.multiply(y, const(rows))), const(A))

    mod = FoldAffine()(convolution(tail))
    assert operators(mod) == ["conv2d", "multiply"]
    np.testing.assert_array_equal(run(mod, X), Y * rows * A)


def returned_between(emit, y):
    y = emit(relax.op.add(y, const(C)))
    return [y, emit(relax.op.multiply(y, const(A)))]


def returned_product(emit, y):
    """Scaled weights would be a second convolution."""
    return [y, emit(relax.op.multiply(emit(relax.op.add(y, const(C))), const(A)))]


def broadcast(emit, y):
    return relax.op.multiply(y, const(np.ones((3, 1, 1, 1, 6))))


def vector_product(emit, x):
    """(M, K) @ (K,): the result has no columns to scale."""
    y = emit(relax.op.matmul(x, const(np.arange(3))))
    return relax.op.multiply(y, const([1, 2, 3]))


NEAR_MISSES = {
    "returned_between": convolution(returned_between),
    "returned_product": convolution(returned_product),
    "broadcast": convolution(broadcast),
    "rows": convolution(lambda emit, y: relax.op.multiply(y, const(np.ones((4, 1, 1))))),
    "columns_of_equal_extent": convolution(
        lambda emit, y: relax.op.multiply(y, const(np.ones((3, 1))))
    ),
    "no_product": module(
        lambda emit, x: relax.op.multiply(emit(relax.op.add(x, const(1.0))), const(2.0)),
        (IMAGE, "float32"),
    ),
    "other_weights": module(
        lambda emit, x: relax.op.multiply(
            emit(
                nn.conv2d(x, const(np.ones((1, 1, 3, 6))), data_layout="NHWC", kernel_layout="HWIO")
            ),
            const(A),
        ),
        (IMAGE, "float32"),
    ),
    "computed_weights": module(
        lambda emit, x, w: relax.op.multiply(
            emit(nn.conv2d(x, w, data_layout="NHWC", kernel_layout="OIHW")), const(A)
        ),
        (IMAGE, "float32"),
        (W.shape, "float32"),
    ),
    "vector": module(vector_product, ((3, 3), "float32")),
    "zero_point": sums(lambda emit, y: relax.op.multiply(y, const(A)), zero=3),
    "scale_along_rows": module(
        lambda emit, x: relax.op.multiply(
            emit(dequantized(x, np.ones(3), axis=1)), const(np.full((3, 1), 2.0))
        ),
        (SUMS.shape, "int32"),
    ),
    "narrow_codes": module(
        lambda emit, x: relax.op.multiply(emit(dequantized(x, 0.5)), const(A)),
        (SUMS.shape, "int8"),
    ),
}


@pytest.mark.parametrize("case", NEAR_MISSES)
def test_leaves_alone(case):
    assert_same(FoldAffine()(NEAR_MISSES[case]), NEAR_MISSES[case])
