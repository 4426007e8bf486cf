import numpy as np
import pytest
from tvm import relax

from qcompile.passes.unsigned_activations import UnsignedActivations
from tests.passes import references
from tests.passes.modules import (
    assert_same,
    attribute,
    calls,
    constants,
    dequantized,
    module,
    quantized,
    run,
)

X = np.linspace(-9, 9, 73, dtype="float32").reshape(1, 73)
IMAGE = ((1, 73), "float32")


def fake_quantize(scale, zero, reader=None, **attributes):
    """dequantize(quantize(x)) of signed codes; `reader` are other attributes of the dequantize."""

    def body(emit, x):
        codes = emit(quantized(x, scale, zero, signed=True, **attributes))
        return dequantized(codes, scale, zero, **(attributes if reader is None else reader))

    return module(body, IMAGE)


def test_stores_unsigned_codes():
    mod = UnsignedActivations()(fake_quantize(0.1, -5))
    quantize, dequantize = calls(mod)
    assert attribute(quantize, "signed") == attribute(dequantize, "signed") == 0
    assert str(quantize.ty.dtype.dtype) == "uint8"
    assert [constants(call)[1] for call in (quantize, dequantize)] == [123, 123]
    assert constants(quantize)[1].dtype == np.uint8


@pytest.mark.parametrize("bits", [8, 4, 2])
@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("edge", ["low", "middle", "high"])
def test_keeps_the_numbers(bits, narrow, edge):
    low, high = references.range_of(bits, signed=True, narrow=narrow)
    zero = {"low": low, "middle": 0, "high": high}[edge]
    mod = UnsignedActivations()(fake_quantize(0.5, zero, bits=bits, narrow=narrow))
    assert str(calls(mod, "qcompile.quantize")[0].ty.dtype.dtype) == "uint8"

    expected = references.values(references.codes(X, 0.5, zero, low, high), 0.5, zero)

    np.testing.assert_array_equal(run(mod, X), expected)


@pytest.mark.parametrize("attributes", [{"bits": 8}, {"bits": 4}, {"bits": 8, "narrow": True}])
def test_the_reader_may_tell_other_widths(attributes):
    """A reader's own bits and narrow say nothing about how far the codes were shifted."""
    written = {"bits": 4, "narrow": True} if attributes == {"bits": 8} else {"bits": 4}
    mod = UnsignedActivations()(fake_quantize(0.5, 1, reader=attributes, **written))
    low, high = references.range_of(4, signed=True, narrow=written.get("narrow", False))

    expected = references.values(references.codes(X, 0.5, 1, low, high), 0.5, 1)

    np.testing.assert_array_equal(run(mod, X), expected)


def test_scales_per_channel():
    scale, zero = np.array([0.1, 0.5, 2.0]), np.array([-128, 3, 127])
    x = np.linspace(-70, 70, 99, dtype="float32").reshape(33, 3)

    def body(emit, x):
        codes = emit(quantized(x, scale, zero, signed=True, axis=1))
        return dequantized(codes, scale, zero, axis=1)

    mod = UnsignedActivations()(module(body, ((33, 3), "float32")))
    assert str(calls(mod)[0].ty.dtype.dtype) == "uint8"

    expected = references.values(references.codes(x, scale, zero, -128, 127), scale, zero)

    np.testing.assert_array_equal(run(mod, x), expected)


def test_several_readers():
    def body(emit, x):
        codes = emit(quantized(x, 0.5, 3, signed=True))
        return [emit(dequantized(codes, 0.5, 3)), emit(dequantized(codes, 0.25, -1))]

    mod = UnsignedActivations()(module(body, IMAGE))
    assert str(calls(mod)[0].ty.dtype.dtype) == "uint8"
    codes = references.codes(X, 0.5, 3, -128, 127)

    first, second = run(mod, X)

    np.testing.assert_array_equal(first, references.values(codes, 0.5, 3))
    np.testing.assert_array_equal(second, references.values(codes, 0.25, -1))


def returned_codes(emit, x):
    codes = emit(quantized(x, 0.5, 3, signed=True))
    return [codes, emit(dequantized(codes, 0.5, 3))]


def moved_codes(emit, x):
    codes = emit(quantized(x, 0.5, 3, signed=True))
    return dequantized(emit(relax.op.reshape(codes, (73,))), 0.5, 3)


def codes_in_a_tuple(emit, x):
    codes = emit(quantized(x, 0.5, 3, signed=True))
    return [emit(dequantized(codes, 0.5)), emit(relax.op.concat([codes, codes], 0))]


def wide_codes(emit, x):
    codes = emit(quantized(x, 0.5, signed=True, bits=16))
    return dequantized(codes, 0.5)


def unsigned_codes(emit, x):
    return dequantized(emit(quantized(x, 0.5, 3)), 0.5, 3)


def zero_outside_the_range(emit, x):
    """-8 is no narrow code of 4 bits: its unsigned counterpart would be -1."""
    codes = emit(quantized(x, 0.5, -8, signed=True, bits=4, narrow=True))
    return dequantized(codes, 0.5, -8, bits=4)


def reader_below_the_range(emit, x):
    codes = emit(quantized(x, 0.5, 0, signed=True, bits=4))
    return dequantized(codes, 0.5, -100, bits=4)


@pytest.mark.parametrize(
    "body",
    [
        returned_codes,
        moved_codes,
        codes_in_a_tuple,
        wide_codes,
        unsigned_codes,
        zero_outside_the_range,
        reader_below_the_range,
    ],
)
def test_leaves_alone(body):
    assert_same(UnsignedActivations()(module(body, IMAGE)), module(body, IMAGE))
