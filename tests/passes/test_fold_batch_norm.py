import numpy as np
import pytest
from tvm import relax
from tvm.relax.op import nn

from qcompile.passes.fold_batch_norm import FoldBatchNorm
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
SHAPE = (2, 5, 3, 4)
X = RNG.normal(size=SHAPE).astype("float32")
EPSILON = 1e-3


def parameters(channels):
    """gamma (of both signs, one 0), beta, mean, variance."""
    gamma = RNG.normal(size=channels).astype("float32")
    gamma[0] = 0
    rest = RNG.normal(size=(2, channels)).astype("float32")
    return gamma, *rest, RNG.uniform(0, 2, channels).astype("float32")


def normalized(x, axis, gamma, beta, mean, variance):
    spread = [-1 if i == axis % x.ndim else 1 for i in range(x.ndim)]
    gamma, beta, mean, variance = (
        p.astype("float64").reshape(spread) for p in (gamma, beta, mean, variance)
    )
    return (x - mean) / np.sqrt(variance + EPSILON) * gamma + beta


def batch_norm(values, axis=1, items=(0,), **attributes):
    def body(emit, x):
        result = emit(
            nn.batch_norm(x, *(const(v) for v in values), axis=axis, epsilon=EPSILON, **attributes),
            name_hint="norm",
        )
        found = [emit(relax.TupleGetItem(result, item)) for item in items]
        return found if len(found) > 1 else found[0]

    return module(body, (SHAPE, "float32"))


@pytest.mark.parametrize("axis", [1, -1])
def test_becomes_one_product_and_one_sum(axis):
    values = parameters(SHAPE[axis])
    mod = FoldBatchNorm()(batch_norm(values, axis, training=False))
    assert operators(mod) == ["multiply", "add"]
    for call in calls(mod):
        assert constants(call)[0].dtype == np.float32
        assert constants(call)[0].ndim == len(SHAPE)
    # A few float32 roundings of values near 1.
    np.testing.assert_allclose(run(mod, X), normalized(X, axis, *values), rtol=1e-5, atol=1e-5)


def test_quantized_parameters():
    """onnxruntime's quantizer leaves mean and variance, and quantizes the other two."""
    *_, mean, variance = parameters(5)
    codes, scales = np.array([-3, 0, 90, 127, -128], "int8"), np.float32([1, 2, 3, 4, 5]) / 64
    offsets = np.array([1000, -5, 0, 7, 3], "int32")

    def body(emit, x):
        rest = const(mean), const(variance)
        parts = dequantized(codes, scales, 2, axis=0), dequantized(offsets, 1e-3)
        result = emit(
            nn.batch_norm(x, *map(emit, parts), *rest, axis=1, epsilon=EPSILON, training=False)
        )
        return emit(relax.TupleGetItem(result, 0))

    mod = FoldBatchNorm()(module(body, (SHAPE, "float32")))
    assert operators(mod) == ["multiply", "add"]
    gamma = (codes.astype("int64") - 2) * scales
    expected = normalized(X, 1, gamma, offsets * np.float32(1e-3), mean, variance)
    np.testing.assert_allclose(run(mod, X), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("without", ["scale", "center"])
def test_parameters_that_are_switched_off(without):
    gamma, beta, *rest = parameters(5)
    mod = FoldBatchNorm()(batch_norm((gamma, beta, *rest), training=False, **{without: False}))
    gamma, beta = (
        (np.ones_like(gamma), beta) if without == "scale" else (gamma, np.zeros_like(beta))
    )
    expected = normalized(X, 1, gamma, beta, *rest)
    np.testing.assert_allclose(run(mod, X), expected, rtol=1e-5, atol=1e-5)


def test_the_other_results_are_the_running_statistics():
    values = parameters(5)
    mod = FoldBatchNorm()(batch_norm(values, items=(0, 1, 2), training=False))
    assert operators(mod) == ["multiply", "add"]
    y, mean, variance = run(mod, X)
    np.testing.assert_allclose(y, normalized(X, 1, *values), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(mean, values[2])
    np.testing.assert_array_equal(variance, values[3])


def test_leaves_training_alone():
    mod = batch_norm(parameters(5), training=True)
    assert_same(FoldBatchNorm()(mod), mod)


def test_leaves_computed_parameters_alone():
    def body(emit, x, gamma):
        rest = [const(v) for v in parameters(5)[1:]]
        result = emit(nn.batch_norm(x, gamma, *rest, axis=1, training=False))
        return emit(relax.TupleGetItem(result, 0))

    mod = module(body, (SHAPE, "float32"), ((5,), "float32"))
    assert_same(FoldBatchNorm()(mod), mod)


def test_leaves_returned_tuples_alone():
    def body(emit, x):
        values = [const(v) for v in parameters(5)]
        return emit(nn.batch_norm(x, *values, axis=1, training=False))

    mod = module(body, (SHAPE, "float32"))
    assert_same(FoldBatchNorm()(mod), mod)
