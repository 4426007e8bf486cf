import numpy as np
import pytest
from tvm import relax

from qcompile.passes.recover_planes import RecoverPlanes, planes_of
from tests.passes.modules import assert_same, calls, const, dequantized, module, operators, run

RNG = np.random.default_rng(0)
X = np.random.default_rng(1).integers(0, 4, (1, 3, 6, 6)).astype("uint8")


def drawn(count, rows=4, smallest=0.01, shape=(3, 3, 3), seed=0):
    """Values (planes, O) and signs (planes, O, ...)."""
    rng = np.random.default_rng(seed)
    values = np.exp(rng.uniform(np.log(smallest), 0, (count, rows))).astype("float32")
    return values, rng.choice(np.float32([-1, 1]), (count, rows, *shape))


def summed(values, signs, once=True):
    """The weights, rounded once, or after each addition."""
    parts = signs * values.reshape(*values.shape, *[1] * (signs.ndim - 2))
    if once:
        return parts.astype("float64").sum(axis=0).astype("float32")
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def convolution(weights, dtype="uint8"):
    def body(emit, x):
        image = emit(dequantized(x, 0.5)) if dtype == "uint8" else x
        return relax.op.nn.conv2d(image, const(weights))

    return module(body, (X.shape, dtype))


@pytest.mark.parametrize("once", [True, False])
@pytest.mark.parametrize("smallest", [0.3, 0.01, 1e-4])
@pytest.mark.parametrize("count", [2, 3])
def test_finds_the_planes_of_any_basis(count, smallest, once):
    for seed in range(20):
        values, signs = drawn(count, rows=2, smallest=smallest, shape=(100,), seed=seed)
        weights = summed(values, signs, once)
        found, scales = planes_of(weights)
        assert len(found) == count and found.dtype == "int8" and set(np.unique(found)) == {-1, 1}
        real = (found * scales[:, :, None].astype("float64")).sum(axis=0)
        # Two roundings of float32 may lie between the sum of the values and the weight.
        np.testing.assert_allclose(
            weights, real, rtol=0, atol=2 * np.spacing(np.abs(weights).max())
        )
        if count == 2:  # one addition
            np.testing.assert_array_equal(weights, real.astype("float32"))


@pytest.mark.parametrize("count", [2, 3])
def test_convolutions(count):
    weights = summed(*drawn(count))
    before = convolution(weights)
    after = RecoverPlanes()(before)
    assert operators(after).count("conv2d") == count
    kinds = [
        [int(call.attrs[key]) for key in ("bits", "signed", "narrow")]
        for call in calls(after, "qcompile.dequantize")[1:]
    ]
    assert kinds == [[1, 1, 1]] * count
    expected = run(before, X)
    # Sums of floats in another order.
    np.testing.assert_allclose(run(after, X), expected, rtol=0, atol=1e-5 * np.ptp(expected))


def test_products():
    values, signs = drawn(2, rows=5, shape=(24,))
    weights = np.ascontiguousarray(summed(values, signs).T)

    def body(emit, x):
        return relax.op.matmul(emit(dequantized(x, 0.5)), const(weights))

    before = module(body, ((2, 24), "int8"))
    after = RecoverPlanes()(before)
    assert operators(after).count("matmul") == 2
    x = RNG.integers(-1, 2, (2, 24)).astype("int8")
    expected = run(before, x)
    np.testing.assert_allclose(run(after, x), expected, rtol=0, atol=1e-5 * np.ptp(expected))


@pytest.mark.parametrize("count", [2, 3])
def test_channels_of_fewer_values(count):
    """A channel of zeros, and one with the sum of all values alone."""
    values, signs = drawn(count, shape=(40,))
    signs[:, 1] = signs[:1, 1]
    weights = summed(values, signs)
    weights[2] = 0
    found, scales = planes_of(weights)
    assert len(found) == count and (scales > 0).all()
    real = (found * scales[:, :, None].astype("float64")).sum(axis=0)
    np.testing.assert_allclose(weights, real, rtol=0, atol=2 * np.spacing(np.abs(weights).max()))


def off_by_one_step():
    weights = summed(*drawn(3))
    weights.flat[5] = np.nextafter(weights.flat[5], np.float32(9))
    return weights


@pytest.mark.parametrize(
    "mod",
    [
        convolution(off_by_one_step()),
        convolution(RNG.normal(0, 1, (4, 3, 3, 3)).astype("float32")),
        convolution(np.full((4, 3, 3, 3), np.nan, "float32")),
        convolution(summed(*drawn(2)), "float32"),
        convolution(summed(*drawn(2, shape=(3, 1, 1)))),
    ],
    ids=["one_weight_is_off", "any_floats", "not_finite", "data_is_no_code", "few_weights"],
)
def test_leaves_alone(mod):
    assert_same(RecoverPlanes()(mod), mod)
