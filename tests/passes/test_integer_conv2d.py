import numpy as np
import pytest
from tvm import relax
from tvm.relax.op import nn

from qcompile.passes.integer_conv2d import IntegerConv2d
from qcompile.passes.integer_weights import INT32_MAX
from tests.passes import references
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
IMAGE = (2, 5, 6, 4)


def random_codes(shape, dtype, bits=8):
    info = np.iinfo(dtype)
    spread = 2 ** (8 - bits)
    return RNG.integers(info.min // spread, info.max // spread + 1, shape).astype(dtype)


def convolution(w, scale=0.5, zero=0, *, x_dtype="uint8", x_zero=3, x_scale=0.25, **options):
    """conv2d(dequantize(x), dequantize(w)), channels last; options of conv2d, bits: of w."""
    bits, x_bits = options.pop("bits", 8), options.pop("x_bits", 8)
    axis = options.pop("axis", 0)

    def body(emit, x):
        x = emit(dequantized(x, x_scale, x_zero, bits=x_bits))
        weights = emit(dequantized(w, scale, zero, axis=axis, bits=bits))
        layouts = {"data_layout": "NHWC", "kernel_layout": "OIHW", **options}
        return emit(nn.conv2d(x, weights, **layouts), name_hint="/conv")

    return module(body, (IMAGE, x_dtype))


def expected_sums(x, x_zero, w, zero, **options):
    """Exact sums of x less its zero point times w less its own: (N, OH, OW, O)."""
    zero = np.asarray(zero, "int64").reshape(-1, 1, 1, 1)
    return references.conv2d(
        x.astype("int64") - x_zero, (w.astype("int64") - zero).transpose(0, 2, 3, 1), **options
    )


def check(w, zero, x_dtype="uint8", x_zero=3, scale=0.5, **options):
    """The integer form computes the exact sums, under the scales' product."""
    mod = IntegerConv2d()(convolution(w, scale, zero, x_dtype=x_dtype, x_zero=x_zero, **options))
    assert "relax.nn.conv2d" not in [str(call.op.name) for call in calls(mod)]
    x = random_codes(IMAGE, x_dtype)
    options = {key: value for key, value in options.items() if key != "bits"}
    sums = expected_sums(x, x_zero, w, zero, **options)
    # One rounding of the product of the scales, one of the sum to float32, one of the product.
    ratio = (np.asarray(scale, "float64") * 0.25).astype("float32")
    np.testing.assert_array_equal(run(mod, x), sums.astype("float32") * ratio)
    return mod


GEOMETRIES = {
    "plain": {},
    "pads": {"padding": (1, 0, 2, 3)},
    "strides": {"strides": (2, 3), "padding": (0, 1, 1, 0)},
    "dilation": {"dilation": (2, 1), "padding": (2, 1, 2, 1)},
}


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize(("x_dtype", "x_zero"), [("uint8", 255), ("uint8", 0), ("int8", -128)])
def test_keeps_the_numbers(geometry, x_dtype, x_zero):
    w = random_codes((3, 4, 2, 3), "int8")
    check(w, 0, x_dtype, x_zero, **GEOMETRIES[geometry])


@pytest.mark.parametrize(
    ("dtype", "zero"),
    [("uint8", 128), ("uint8", 0), ("uint8", 255), ("int8", -128), ("int8", 127), ("int8", 5)],
)
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_weights_with_a_zero_point(dtype, zero, groups):
    """Codes from end to end, so that all but 128 take the way over the windows' sums."""
    w = random_codes((8, 4 // groups, 3, 2), dtype)
    w.reshape(-1)[:2] = np.iinfo(dtype).min, np.iinfo(dtype).max
    mod = check(w, zero, padding=(1, 1, 0, 2), strides=(1, 2), groups=groups)
    convolutions = calls(mod, "qcompile.conv2d")
    assert len(convolutions) == (1 if (dtype, zero) == ("uint8", 128) else 2)


def test_a_zero_point_for_every_channel():
    w = random_codes((6, 2, 2, 2), "uint8")
    zero = np.array([0, 255, 128, 127, 1, 77])
    check(w, zero, groups=2, padding=(1, 1, 1, 1), scale=np.float32([1, -2, 0.5, 4, 0.1, 0.3]))


@pytest.mark.parametrize("bits", [4, 2])
def test_few_bits(bits):
    w = random_codes((3, 4, 1, 1), "uint8", bits)
    mod = check(w, 2 ** (bits - 1), bits=bits)
    (call,) = calls(mod, "qcompile.conv2d")
    assert (attribute(call, "a_bits"), attribute(call, "w_bits")) == (8, bits)


def test_names_the_layer_and_keeps_its_attributes():
    w = random_codes((3, 4, 2, 3), "int8")
    options = {"padding": (1, 0, 2, 3), "strides": (2, 1), "dilation": (1, 2)}
    mod = IntegerConv2d()(convolution(w, x_zero=7, x_bits=6, **options))
    (call,) = calls(mod, "qcompile.conv2d")
    assert attribute(call, "layer") == "/conv"
    assert attribute(call, "padding") == [1, 0, 2, 3]
    assert attribute(call, "strides") == [2, 1]
    assert attribute(call, "dilation") == [1, 2]
    assert attribute(call, "zero_point") == 7
    assert attribute(call, "a_bits") == 6
    weights, bias = constants(call)
    np.testing.assert_array_equal(weights, w.transpose(0, 2, 3, 1))
    assert not bias.any()


def test_sums_at_the_limit():
    """The largest sums that are allowed, and reached."""
    w = np.full((1, 4, 5, 6), 127, "int8")
    x = np.full(IMAGE, 255, "uint8")
    mod = IntegerConv2d()(convolution(w, x_zero=0))
    np.testing.assert_array_equal(run(mod, x), np.full((2, 1, 1, 1), 120 * 127 * 255 * 0.125))


def deep(depth):
    """1 x 1 windows of 127 over `depth` channels."""

    def body(emit, x):
        w = emit(dequantized(np.full((1, depth, 1, 1), 127, "int8"), 0.5))
        x = emit(dequantized(x, 0.5, 0))
        return nn.conv2d(x, w, data_layout="NHWC", kernel_layout="OIHW")

    return module(body, ((1, 1, 1, depth), "uint8"))


def test_deeper_than_an_int32_is_left_alone():
    depth = INT32_MAX // 2 // (127 * 255)
    assert operators(IntegerConv2d()(deep(depth)))[0] == "conv2d"
    assert_same(IntegerConv2d()(deep(depth + 1)), deep(depth + 1))


def computed(emit, x, w):
    x, w = emit(dequantized(x, 0.5)), emit(dequantized(w, 0.5))
    return nn.conv2d(x, w, data_layout="NHWC", kernel_layout="OIHW")


def float_weights(emit, x):
    x = emit(dequantized(x, 0.5))
    return nn.conv2d(x, const(np.ones((1, 4, 1, 1))), data_layout="NHWC", kernel_layout="OIHW")


def float_data(emit, x):
    w = emit(dequantized(np.ones((1, 4, 1, 1), "int8"), 0.5))
    x = emit(relax.op.astype(x, "float32"))
    return nn.conv2d(x, w, data_layout="NHWC", kernel_layout="OIHW")


ONES = np.ones((4, 4, 1, 1), "int8")
NEAR_MISSES = {
    "computed_weights": module(computed, (IMAGE, "uint8"), ((1, 4, 1, 1), "int8")),
    "float_weights": module(float_weights, (IMAGE, "uint8")),
    "float_data": module(float_data, (IMAGE, "uint8")),
    "channels_first": convolution(np.ones((4, 5, 1, 1), "int8"), data_layout="NCHW"),
    "other_weights": convolution(np.ones((4, 4, 4, 4), "int8"), kernel_layout="HWIO"),
    "scales_of_the_inputs": convolution(ONES, np.ones(4), axis=1),
    "scales_of_the_data": convolution(ONES, x_scale=np.ones(4)),
    "zeros_of_the_data": convolution(ONES, x_zero=np.arange(4)),
    "int16_data": convolution(ONES, x_dtype="int16", x_zero=0, x_bits=16),
    "int16_weights": convolution(ONES.astype("int16"), bits=16),
}


@pytest.mark.parametrize("case", NEAR_MISSES)
def test_leaves_alone(case):
    assert_same(IntegerConv2d()(NEAR_MISSES[case]), NEAR_MISSES[case])
