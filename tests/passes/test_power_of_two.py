"""Scales become powers of two: the module made, its integers, what keeps its scales."""

import numpy as np
import pytest
from tvm import relax

from qcompile.ops import add, conv2d, dense, multiply, requantize, sum_pool2d, threshold
from qcompile.passes.power_of_two import PowerOfTwo
from qcompile.passes.power_of_two_report import rescaled_layers
from tests.passes import references
from tests.passes.modules import (
    assert_same,
    attribute,
    calls,
    const,
    constants,
    module,
    operators,
    run,
)

RNG = np.random.default_rng(6)
IMAGE = RNG.integers(0, 256, (1, 5, 6, 3)).astype("uint8")
WEIGHTS = RNG.integers(-127, 128, (8, 3, 3, 3)).astype("int8")
BIAS = RNG.integers(-3000, 3000, 8).astype("int32")
FACTOR = (RNG.uniform(0.5, 1, 8) / 300).astype("float32")
OFFSET = RNG.uniform(-9, 9, 8).astype("float32")
CODES = {"zero_point": 7, "low": 2, "high": 250, "dtype": "uint8"}
GEOMETRY = {"strides": (1, 2), "padding": (1, 0, 1, 2), "dilation": (1, 1), "groups": 1}


def convolution(emit, x, weights=WEIGHTS, bias=BIAS, w_bits=8):
    attributes = {"zero_point": 9, "bits": (8, w_bits), "codes": (0, 1), "layer": "first"}
    arguments = (x, const(weights, "int8"), const(bias, "int32"))
    return emit(conv2d(*arguments, **GEOMETRY, **attributes))


def network(factor=FACTOR, offset=OFFSET, rounding="half_even", also_sums=False):
    def body(emit, x):
        sums = convolution(emit, x)
        terms = [const(factor), None if offset is None else const(offset)]
        codes = emit(requantize(sums, *terms, input_zero=0, rounding=rounding, **CODES))
        return [codes, sums] if also_sums else codes

    return module(body, (IMAGE.shape, "uint8"))


def parts(mod):
    """Weights, bias and shifts of a module of one layer."""
    (product,), (epilogue,) = calls(mod, "qcompile.conv2d"), calls(mod, "qcompile.requantize")
    weights, bias = (array.astype("int64") for array in constants(product))
    (scale,) = constants(epilogue)
    shift = -np.log2(scale.astype("float64"))
    assert (shift == np.rint(shift)).all() and str(epilogue.attrs["rounding"]) == "half_ceil"
    return weights, bias, shift.astype("int64")


def shifted(sums, shift):
    return (sums + (1 << shift >> 1)) >> shift


def expected(mod):
    weights, bias, shift = parts(mod)
    geometry = {key: GEOMETRY[key] for key in ("strides", "padding")}
    sums = references.conv2d(IMAGE.astype("int64") - 9, weights, **geometry) + bias
    return np.clip(shifted(sums, shift) + 7, 2, 250)


SPREAD = np.float32(2.0 ** -np.arange(8))


@pytest.mark.parametrize("factor", [FACTOR, FACTOR[:1], -FACTOR, FACTOR * SPREAD])
@pytest.mark.parametrize("offset", [None, OFFSET])
def test_keeps_the_numbers_within_the_rounding_of_weights(factor, offset):
    before, mod = network(factor, offset), PowerOfTwo()(network(factor, offset))
    found = run(mod, IMAGE)
    np.testing.assert_array_equal(found, expected(mod))
    difference = found.astype("int64") - run(before, IMAGE)
    # 27 weights, each wrong by a third of a step of 64 to 127, times data around 128.
    assert np.abs(difference).max() <= 3 and difference.std() < 1


def test_weights_carry_the_scale():
    mod = PowerOfTwo()(network())
    weights, bias, shift = parts(mod)
    exact = WEIGHTS * FACTOR[:, None, None, None].astype("float64") * 2.0**shift
    assert shift.shape == () and np.abs(weights - exact).max() < 1
    # Twice as much would be beyond the largest.
    assert 60 <= np.abs(weights).max() <= 119
    np.testing.assert_array_equal(
        bias, np.rint((BIAS * FACTOR.astype("float64") + OFFSET) * 2.0**shift)
    )
    # Filters keep their sums, and so what the mean of the data makes.
    assert np.abs((weights - exact).sum(axis=(1, 2, 3))).max() <= 0.5
    assert np.abs((weights - exact).sum(axis=(1, 2))).max() <= 1.5


def test_channels_have_shifts_of_their_own_where_that_pays():
    mod = PowerOfTwo()(network(FACTOR * SPREAD))
    (layer,) = rescaled_layers(mod)
    assert layer.per_channel and layer.error < layer.layer_error / 2
    np.testing.assert_array_equal(np.unique(parts(mod)[2]), layer.shift)


def test_tells_what_it_did():
    (layer,) = rescaled_layers(PowerOfTwo()(network()))
    assert (layer.layer, layer.op, layer.per_channel, layer.reason) == (
        "first",
        "conv2d",
        False,
        "",
    )
    assert len(layer.shift) == 1 and 0 < layer.error < 0.02 and layer.error == layer.layer_error
    assert rescaled_layers(network()) == ()


def test_scales_that_are_powers_of_two_lose_nothing():
    weights = WEIGHTS.copy()
    weights[:, 0, 0, 0] = -128
    factor = np.float32(2.0 ** -np.arange(5, 13))

    def body(emit, x):
        sums = convolution(emit, x, weights)
        return requantize(sums, const(factor), None, input_zero=0, **CODES)

    before = module(body, (IMAGE.shape, "uint8"))
    mod = PowerOfTwo()(before)
    made, bias, shift = parts(mod)
    np.testing.assert_array_equal(made, weights)
    np.testing.assert_array_equal(bias, BIAS)
    np.testing.assert_array_equal(shift, np.arange(5, 13))
    (layer,) = rescaled_layers(mod)
    assert layer.error == 0 < layer.layer_error


@pytest.mark.parametrize(("w_bits", "bits", "largest"), [(4, 4, 7), (4, 8, 119), (5, 4, 119)])
def test_narrow_layers_may_stay_narrow(w_bits, bits, largest):
    def body(emit, x):
        sums = convolution(emit, x, WEIGHTS // 16, w_bits=w_bits)
        return requantize(sums, const(FACTOR * 16), None, input_zero=0, **CODES)

    mod = PowerOfTwo(bits)(module(body, (IMAGE.shape, "uint8")))
    assert largest / 2 <= np.abs(parts(mod)[0]).max() <= largest
    (product,) = calls(mod, "qcompile.conv2d")
    assert attribute(product, "w_bits") == (4 if largest == 7 else 8)
    np.testing.assert_array_equal(run(mod, IMAGE), expected(mod))


@pytest.mark.parametrize(("rounding", "function"), [("floor", np.floor), ("ceil", np.ceil)])
def test_other_roundings_go_into_the_bias(rounding, function):
    mod = PowerOfTwo()(network(np.float32([2.0**-6]), None, rounding))
    sums = references.conv2d(
        IMAGE.astype("int64") - 9, WEIGHTS, strides=(1, 2), padding=(1, 0, 1, 2)
    )
    real = (sums + BIAS) / 64
    found = run(mod, IMAGE)
    weights = parts(mod)[0]
    np.testing.assert_array_equal(weights, WEIGHTS)  # a power of two: nothing is lost
    codes = np.clip(function(real) + 7, 2, 250)
    assert (found == codes)[real % 1 != 0].all()


def test_dense():
    rows, weights = RNG.integers(-8, 8, (4, 20)).astype("int8"), RNG.integers(-1, 2, (6, 20))

    def body(emit, x):
        attributes = {"zero_point": 0, "bits": (4, 2), "codes": (-8, 1), "layer": "last"}
        arguments = (x, const(weights, "int8"), const(np.zeros(6), "int32"))
        sums = emit(dense(*arguments, **attributes))
        return requantize(sums, const(0.3), None, input_zero=0, **CODES)

    mod = PowerOfTwo()(module(body, (rows.shape, "int8")))
    (product,), (epilogue,) = calls(mod, "qcompile.dense"), calls(mod, "qcompile.requantize")
    made, bias = constants(product)
    (scale,) = constants(epilogue)
    sums = rows.astype("int64") @ made.astype("int64").T + bias
    codes = np.clip(shifted(sums, int(-np.log2(scale))) + 7, 2, 250)
    np.testing.assert_array_equal(run(mod, rows), codes)
    # 0.3 * 2^8 = 76.8 is the largest below 119.
    assert scale == 2.0**-8 and set(np.unique(made)) <= {-77, -76, 0, 76, 77}


@pytest.mark.parametrize("scales", [(0.77, 2.05), (0.002, 0.9), (1.0, 1.0), (0.25, 31.0)])
def test_sums_of_two(scales):
    a, b = RNG.integers(0, 256, (2, 2, 3, 3, 5)).astype("uint8")

    def body(emit, x, y):
        return add(x, y, scales=scales, zeros=(3, 130), **CODES)

    before = module(body, (a.shape, "uint8"), (b.shape, "uint8"))
    mod = PowerOfTwo()(before)
    (call,) = calls(mod)
    (layer,) = rescaled_layers(mod)
    (shift,) = layer.shift
    factors = [float(call.attrs[key]) * 2**shift for key in ("scale_a", "scale_b")]
    assert all(d == int(d) and d <= 127 for d in factors) and shift <= 15
    sums = (a.astype("int64") - 3) * int(factors[0]) + (b.astype("int64") - 130) * int(factors[1])
    np.testing.assert_array_equal(run(mod, a, b), np.clip(shifted(sums, shift) + 7, 2, 250))


RESIDUAL = RNG.integers(0, 256, (1, 5, 3, 8)).astype("uint8")
BRANCH = {"zero_point": 140, "low": 0, "high": 255, "dtype": "uint8"}
SCALES = (0.71, 1.9)


def branch(emit, x, layer="first", **codes):
    attributes = {"zero_point": 9, "bits": (8, 8), "codes": (0, 1), "layer": layer}
    arguments = (x, const(WEIGHTS, "int8"), const(BIAS, "int32"))
    sums = emit(conv2d(*arguments, **GEOMETRY, **attributes))
    return emit(requantize(sums, const(FACTOR), None, input_zero=0, **BRANCH | codes))


def shortcut(zero_b=140, also_codes=False, **codes):
    """A sum of codes and of what a convolution makes."""

    def body(emit, x, a):
        codes_b = branch(emit, x, **codes)
        y = emit(add(a, codes_b, scales=SCALES, zeros=(12, zero_b), **CODES))
        return [y, codes_b] if also_codes else y

    return module(body, (IMAGE.shape, "uint8"), (RESIDUAL.shape, "uint8"))


def conv_sums(image, weights):
    """Sums of the convolution of GEOMETRY, whose zero point is 9."""
    geometry = {key: GEOMETRY[key] for key in ("strides", "padding")}
    return references.conv2d(image.astype("int64") - 9, weights.astype("int64"), **geometry)


def test_a_branch_is_rounded_with_the_sum():
    mod = PowerOfTwo()(shortcut())
    assert operators(mod) == ["conv2d", "astype", "subtract", "multiply", "add", "requantize"]
    found = run(mod, IMAGE, RESIDUAL)

    weights, bias = constants(calls(mod, "qcompile.conv2d")[0])
    (factors,) = constants(calls(mod, "relax.multiply")[0])
    (scale,) = constants(calls(mod, "qcompile.requantize")[0])
    sums = conv_sums(IMAGE, weights) + bias + (RESIDUAL.astype("int64") - 12) * factors
    expected = np.clip(shifted(sums, int(-np.log2(scale))) + 7, 0, 255)
    np.testing.assert_array_equal(found, expected.clip(2, 250))

    # The model's arithmetic without the roundings between: 27 weights are a third of a step wrong.
    real = (conv_sums(IMAGE, WEIGHTS) + BIAS) * FACTOR.astype("float64") * SCALES[1]
    real += (RESIDUAL.astype("float64") - 12) * SCALES[0]
    assert np.abs(found - np.clip(np.rint(real) + 7, 2, 250)).max() <= 3
    assert factors[0] == pytest.approx(SCALES[0] / scale, abs=0.5)


def test_both_branches_are_rounded_with_the_sum():
    def body(emit, x, y):
        one, other = branch(emit, x), branch(emit, y, "second")
        return add(one, other, scales=SCALES, zeros=(140, 140), **CODES)

    other = RNG.integers(0, 256, IMAGE.shape).astype("uint8")
    mod = PowerOfTwo()(module(body, (IMAGE.shape, "uint8"), (IMAGE.shape, "uint8")))
    assert operators(mod) == ["conv2d", "conv2d", "add", "requantize"]
    products, (epilogue,) = calls(mod, "qcompile.conv2d"), calls(mod, "qcompile.requantize")
    sums = sum(
        conv_sums(image, constants(product)[0]) + constants(product)[1]
        for image, product in zip((IMAGE, other), products, strict=True)
    )
    expected = np.clip(shifted(sums, int(-np.log2(constants(epilogue)[0]))) + 7, 2, 250)
    np.testing.assert_array_equal(run(mod, IMAGE, other), expected)
    assert [layer.op for layer in rescaled_layers(mod)] == ["conv2d and add"] * 2


@pytest.mark.parametrize(
    "other", [{"low": 140}, {"high": 200}, {"zero_b": 139}, {"also_codes": True}]
)
def test_branches_with_a_clamp_or_other_readers_are_codes(other):
    mod = PowerOfTwo()(shortcut(**other))
    assert operators(mod) == ["conv2d", "requantize", "add"]
    assert [layer.op for layer in rescaled_layers(mod)] == ["conv2d", "add"]


def test_a_branch_whose_weights_would_suffer_is_codes():
    def body(emit, x, a):
        # The shortcut counts 70 times as much: factors of it leave no bits to the weights.
        return add(a, branch(emit, x), scales=(70.0, 1.0), zeros=(12, 140), **CODES)

    mod = PowerOfTwo()(module(body, (IMAGE.shape, "uint8"), (RESIDUAL.shape, "uint8")))
    assert operators(mod) == ["conv2d", "requantize", "add"]


@pytest.mark.parametrize("window", [(2, 2), (5, 6)])
def test_averages(window):
    def body(emit, x):
        geometry = {"kernel": window, "strides": window, "padding": [0] * 4, "dilation": [1, 1]}
        sums = emit(sum_pool2d(x, **geometry, zero_point=4))
        scale = const(1 / (window[0] * window[1]))
        return requantize(sums, scale, None, input_zero=0, **CODES)

    mod = PowerOfTwo()(module(body, (IMAGE.shape, "uint8")))
    (epilogue,) = calls(mod, "qcompile.requantize")
    (shift,) = rescaled_layers(mod)[0].shift
    factor = float(constants(epilogue)[0]) * 2**shift
    assert factor == int(factor) <= 127
    kernel = np.full((1, *window, 1), int(factor))
    sums = np.concatenate(
        [
            references.conv2d(IMAGE[..., c : c + 1].astype("int64") - 4, kernel, strides=window)
            for c in range(3)
        ],
        axis=3,
    )
    np.testing.assert_array_equal(run(mod, IMAGE), np.clip(shifted(sums, shift) + 7, 2, 250))


def product(emit, x):
    return multiply(x, x, scale=0.01, zeros=(0, 0), **CODES)


def three_codes(emit, x):
    levels = const(np.sort(RNG.integers(-999, 999, (2, 8)), axis=0), "int32")
    return threshold(convolution(emit, x), levels, low=0, step=1, dtype="uint8")


def along_rows(emit, x):
    sums = convolution(emit, x)
    scale = const(np.linspace(0.01, 0.02, int(sums.ty.shape[1])).reshape(1, -1, 1, 1))
    return requantize(sums, scale, None, input_zero=0, **CODES)


def two_codes(emit, x):
    levels = const(RNG.integers(-999, 999, (1, 8)), "int32")
    return threshold(convolution(emit, x), levels, low=-1, step=2, dtype="int8")


IMAGE_TYPE = (IMAGE.shape, "uint8")
NEAR_MISSES = {
    "product of two tensors": (module(product, IMAGE_TYPE), "product"),
    "three codes": (module(three_codes, IMAGE_TYPE), "more than two codes"),
    "scales along rows": (module(along_rows, IMAGE_TYPE), "other axes"),
    "sums with other readers": (network(also_sums=True), "something else reads"),
    "rounding away from zero": (network(rounding="up"), "rounding is up"),
    "scale beyond any shift": (network(np.float32([300])), "no shift holds"),
}


@pytest.mark.parametrize("case", NEAR_MISSES)
def test_leaves_alone_and_says_why(case):
    mod, reason = NEAR_MISSES[case]
    after = PowerOfTwo()(mod)
    assert [reason in layer.reason for layer in rescaled_layers(after)] == [True]
    assert_same(after.without_attr("qcompile.power_of_two"), mod)


def test_two_codes_are_exact_already():
    mod = module(two_codes, IMAGE_TYPE)
    after = PowerOfTwo()(mod)
    assert rescaled_layers(after) == ()
    assert_same(after.without_attr("qcompile.power_of_two"), mod)
    assert attribute(calls(after, "qcompile.threshold")[0], "step") == 2
    assert isinstance(mod["main"], relax.Function)
