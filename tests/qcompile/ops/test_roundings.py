"""Roundings and quantize against decimal arithmetic, which has them all."""

import decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tvm import relax

from qcompile.ops import dequantize, quantize, requantize
from qcompile.ops.roundings import ARRAYS, EXPRESSIONS, round_array
from tests.passes.modules import const, module, run

DECIMAL = {
    "half_even": decimal.ROUND_HALF_EVEN,
    "half_up": decimal.ROUND_HALF_UP,
    "half_down": decimal.ROUND_HALF_DOWN,
    "up": decimal.ROUND_UP,
    "down": decimal.ROUND_DOWN,
    "ceil": decimal.ROUND_CEILING,
    "floor": decimal.ROUND_FLOOR,
}
HALF = decimal.Decimal("0.5")
TIES = np.arange(-9, 9, 0.5)
VALUES = np.concatenate(
    [TIES, np.nextafter(TIES, np.inf, dtype="float32"), np.nextafter(TIES, -9e9, dtype="float32")]
).astype("float32")


def exact(value: np.float32, rounding: str) -> int:
    number = decimal.Decimal(float(value))
    if rounding == "half_ceil":
        # A width that holds every float32 of the test and the half.
        return exact_integer(decimal.Context(prec=200).add(number, HALF), "floor")
    if rounding == "half_odd":  # half to even, one to the right
        return exact_integer(number + 1, "half_even") - 1
    return exact_integer(number, rounding)


def exact_integer(number: decimal.Decimal, rounding: str) -> int:
    with decimal.localcontext() as context:
        context.prec = 200
        return int(number.to_integral_value(DECIMAL[rounding]))


def test_every_name_has_both_forms():
    assert set(ARRAYS) == set(EXPRESSIONS) == {*DECIMAL, "half_odd", "half_ceil"}


@pytest.mark.parametrize("rounding", ARRAYS)
@given(value=st.floats(-300, 300, width=32))
def test_arrays(rounding, value):
    assert round_array(np.float32(value), rounding) == exact(np.float32(value), rounding)


@pytest.mark.parametrize("rounding", ARRAYS)
def test_quantizes(rounding):
    low, high, zero = -4, 3, 1

    def body(emit, x):
        scale, shift = const(np.float32(0.5)), relax.const(np.int8(zero), "int8")
        return quantize(x, scale, shift, bits=3, signed=True, rounding=rounding)

    found = run(module(body, (VALUES.shape, "float32")), VALUES)
    expected = [
        np.clip(exact(value / np.float32(0.5), rounding) + zero, low, high) for value in VALUES
    ]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("shift", [0, 1, 7, 15])
def test_half_ceil_is_an_addition_and_a_shift(shift):
    sums = np.random.default_rng(shift).integers(-(2 ** (shift + 9)), 2 ** (shift + 9), (1, 4096))
    sums[0, :8] = np.arange(-4, 4) * 2**shift + 2**shift // 2

    def body(emit, x):
        scale = const(np.float32(2.0**-shift))
        attributes = {"input_zero": 0, "zero_point": -3, "low": -128, "high": 127, "dtype": "int8"}
        return requantize(x, scale, None, rounding="half_ceil", **attributes)

    found = run(module(body, (sums.shape, "int32")), sums.astype("int32"))
    expected = np.clip(((sums + 2**shift // 2) >> shift) - 3, -128, 127)
    np.testing.assert_array_equal(found, expected)


def test_bipolar_codes_are_signs():
    values = np.float32([-2, -1e-30, -0.0, 0.0, 1e-30, 7, np.inf, -np.inf])
    attributes = {"bits": 1, "signed": True, "narrow": True}

    def body(emit, x):
        scale, zero = const(np.float32(0.25)), relax.const(np.int8(0), "int8")
        codes = emit(quantize(x, scale, zero, **attributes))
        return dequantize(codes, scale, zero, **attributes)

    found = run(module(body, (values.shape, "float32")), values)
    np.testing.assert_array_equal(found, np.where(values >= 0, 0.25, -0.25).astype("float32"))
