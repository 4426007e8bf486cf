import numpy as np
import pytest
from tvm import relax

from qcompile.passes.recover_weights import RecoverWeights, recovered
from tests.passes.modules import (
    assert_same,
    attribute,
    calls,
    const,
    dequantized,
    module,
    operators,
    run,
)

ALPHA = np.array([0.1, 0.37, 1.25, 3e-5], "float32").reshape(4, 1, 1, 1)
X = np.random.default_rng(0).integers(-1, 2, (1, 3, 6, 6)).astype("int8")


def signs(shape, seed=1):
    return np.random.default_rng(seed).choice(np.float32([-1, 1]), shape)


def convolution(weights, moves=lambda emit, x: x):
    def body(emit, x):
        image = moves(emit, emit(dequantized(x, 0.5)))
        return relax.op.nn.conv2d(image, const(weights))

    return module(body, (X.shape, "int8"))


def kind(mod):
    call = calls(mod, "qcompile.dequantize")[-1]
    return tuple(attribute(call, key) for key in ("bits", "signed", "narrow"))


def weights_of(levels):
    rng = np.random.default_rng(2)
    codes = rng.integers(-levels, levels + 1, (4, 3, 3, 3))
    codes[:, 0, 0] = [levels, -levels, 1]
    return codes, (codes.astype("float32") * ALPHA)


def test_bipolar_weights():
    mod = RecoverWeights()(convolution(signs((4, 3, 3, 3)) * ALPHA))
    assert kind(mod) == (1, 1, 1)
    call = calls(mod, "qcompile.dequantize")[-1]
    codes, scale, _ = (argument.value.numpy() for argument in call.args)
    np.testing.assert_array_equal(codes, signs((4, 3, 3, 3)))
    np.testing.assert_array_equal(scale, ALPHA.reshape(-1))


@pytest.mark.parametrize(("levels", "bits"), [(1, 2), (2, 3), (3, 3), (5, 4), (7, 4)])
def test_few_levels(levels, bits):
    codes, weights = weights_of(levels)
    before = convolution(weights)
    after = RecoverWeights()(before)
    assert kind(after) == (bits, 1, 1)
    call = calls(after, "qcompile.dequantize")[-1]
    np.testing.assert_array_equal(call.args[0].value.numpy(), codes)
    np.testing.assert_array_equal(run(after, X), run(before, X))


def test_a_grid_without_its_smallest_level():
    """2 s and 3 s: no weight is the scale itself."""
    scale = np.float32(0.123)
    weights = np.array([2, 3, -2, -3], "float32") * scale
    codes, scales = recovered(weights.reshape(1, 4))
    np.testing.assert_array_equal(codes, [[2, 3, -2, -3]])
    np.testing.assert_array_equal(codes * scales, weights.reshape(1, 4))


def test_a_channel_of_zeros():
    weights = signs((4, 3, 3, 3)) * ALPHA
    weights[2] = 0
    before = convolution(weights)
    after = RecoverWeights()(before)
    assert kind(after) == (2, 1, 1)
    np.testing.assert_array_equal(run(after, X), run(before, X))


def test_products():
    weights = signs((8, 5)) * np.linspace(0.1, 2, 5, dtype="float32")

    def body(emit, x):
        return relax.op.matmul(emit(dequantized(x, 0.5)), const(weights))

    before = module(body, ((2, 8), "int8"))
    after = RecoverWeights()(before)
    assert attribute(calls(after, "qcompile.dequantize")[-1], "axis") == 1
    x = np.random.default_rng(0).integers(-5, 5, (2, 8)).astype("int8")
    # Products of 8 small integers and one scale a column: equal whatever their order.
    np.testing.assert_allclose(run(after, x), run(before, x), rtol=1e-6)


def test_reads_through_moves():
    def moves(emit, x):
        return emit(relax.op.nn.max_pool2d(emit(relax.op.nn.pad(x, [0, 0, 0, 0, 1, 1, 1, 1]))))

    mod = RecoverWeights()(convolution(signs((4, 3, 3, 3)), moves))
    assert operators(mod).count("dequantize") == 2


def almost():
    weights = signs((4, 3, 3, 3)) * ALPHA
    weights[1, 0, 0, 0] = np.nextafter(weights[1, 0, 0, 0], np.float32(9))
    return weights


NEAR_MISSES = {
    "almost": almost(),
    "wide": weights_of(8)[1],
    "float": np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype("float32"),
    "nan": np.full((4, 3, 3, 3), np.nan, "float32"),
    "subnormal": np.full((4, 3, 3, 3), 2**-149, "float32"),
}


@pytest.mark.parametrize("case", NEAR_MISSES)
def test_leaves_alone(case):
    before = convolution(NEAR_MISSES[case])
    assert_same(RecoverWeights()(before), before)


def test_leaves_products_of_floats_alone():
    def body(emit, x):
        return relax.op.nn.conv2d(x, const(signs((4, 3, 3, 3))))

    before = module(body, (X.shape, "float32"))
    assert_same(RecoverWeights()(before), before)
