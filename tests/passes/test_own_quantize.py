import numpy as np
import pytest
from tvm import relax

from qcompile.passes.own_quantize import OwnQuantize
from tests.passes import references
from tests.passes.modules import assert_same, attribute, calls, const, module, operators, run

X = np.linspace(-40, 40, 300, dtype="float32").reshape(100, 3)
SCALE, ZERO = np.float32([0.1, 0.3, 0.5]), np.array([0, 5, 100])


def tvms(dtype, scale=0.1, zero=0, axis=-1):
    """relax.dequantize(relax.quantize(x))."""

    def body(emit, x):
        parameters = const(scale), const(zero, dtype)
        codes = emit(relax.op.quantize(x, *parameters, axis=axis, out_dtype=dtype))
        return relax.op.dequantize(codes, *parameters, axis=axis)

    return module(body, (X.shape, "float32"))


@pytest.mark.parametrize(
    ("dtype", "bits", "signed"),
    [("int8", 8, True), ("uint8", 8, False), ("int16", 16, True), ("uint16", 16, False)],
)
def test_takes_widths_and_sign_from_the_type(dtype, bits, signed):
    mod = OwnQuantize()(tvms(dtype, zero=3))
    assert operators(mod) == ["quantize", "dequantize"]
    for call in calls(mod, "qcompile.quantize", "qcompile.dequantize"):
        assert attribute(call, "bits") == bits
        assert attribute(call, "signed") == signed
        assert attribute(call, "narrow") == 0
    assert str(calls(mod)[0].attrs["rounding"]) == "half_even"
    low, high = references.range_of(bits, signed)
    expected = references.values(references.codes(X, 0.1, 3, low, high), 0.1, 3)
    np.testing.assert_array_equal(run(mod, X), expected)


@pytest.mark.parametrize("axis", [1, -1])
def test_parameters_per_channel(axis):
    mod = OwnQuantize()(tvms("uint8", SCALE, ZERO, axis))
    assert len(calls(mod, "qcompile.quantize", "qcompile.dequantize")) == 2
    expected = references.values(references.codes(X, SCALE, ZERO, 0, 255), SCALE, ZERO)
    np.testing.assert_array_equal(run(mod, X), expected)


def test_sums():
    def body(emit, x):
        return relax.op.dequantize(x, const(SCALE), const(0, "int32"), axis=1)

    mod = OwnQuantize()(module(body, ((2, 3), "int32")))
    (call,) = calls(mod, "qcompile.dequantize")
    assert [attribute(call, name) for name in ("bits", "signed")] == [32, 1]
    x = np.array([[1, -2, 3], [2**31 - 1, -(2**31), 2**24 + 1]], "int32")
    np.testing.assert_array_equal(run(mod, x), references.values(x, SCALE))


def test_zero_points_of_another_type():
    """TVM takes any integer type; ours is that of the codes."""

    def body(emit, x):
        zero = const(3, "int32")
        codes = emit(relax.op.quantize(x, const(0.1), zero, out_dtype="int8"))
        return relax.op.dequantize(codes, const(0.1), zero)

    mod = OwnQuantize()(module(body, (X.shape, "float32")))
    for call in calls(mod, "qcompile.quantize", "qcompile.dequantize"):
        assert str(call.args[2].ty.dtype.dtype) == "int8"


def computed_scale(emit, x, scale):
    codes = emit(relax.op.quantize(x, scale, const(0, "int8"), out_dtype="int8"))
    return relax.op.dequantize(codes, scale, const(0, "int8"))


def half(emit, x):
    return relax.op.dequantize(x, const(0.5, "float16"), const(0, "int8"), out_dtype="float16")


def half_sums(emit, x):
    return relax.op.dequantize(x, const(0.5, "float16"), const(0, "int32"), out_dtype="float16")


def half_input(emit, x):
    return relax.op.quantize(x, const(0.5), const(0, "int8"), out_dtype="int8")


def zero_beyond_the_codes(emit, x):
    return relax.op.dequantize(x, const(0.5), const(300, "int32"))


def float_zero(emit, x):
    return relax.op.dequantize(x, const(0.5), const(0.5, "float16"))


NEAR_MISSES = {
    "computed_scale": (computed_scale, ((4,), "float32"), ((), "float32")),
    "float16": (half, ((4,), "int8")),
    "float16_sums": (half_sums, ((4,), "int32")),
    "float16_input": (half_input, ((4,), "float16")),
    "zero_beyond_the_codes": (zero_beyond_the_codes, ((4,), "int8")),
    "float_zero": (float_zero, ((4,), "int8")),
}


@pytest.mark.parametrize("case", NEAR_MISSES)
def test_leaves_alone(case):
    body, *parameters = NEAR_MISSES[case]
    assert_same(OwnQuantize()(module(body, *parameters)), module(body, *parameters))
