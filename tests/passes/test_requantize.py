import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import relax
from tvm.relax.op import nn

from qcompile.passes.requantize import Requantize
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
    quantized,
    run,
)

RNG = np.random.default_rng(0)
CODES = np.arange(256, dtype="uint8")
SIGNED = np.arange(-128, 128).astype("int8")
SUMS = np.concatenate(
    [
        RNG.integers(-(2**31), 2**31, 500),
        RNG.integers(-3000, 3000, 500),
        [-(2**31), 2**31 - 1, 0, 2**24 + 1],
    ]
).astype("int32")
SUMS = SUMS[: len(SUMS) // 4 * 4].reshape(-1, 4)


def requantized(shape, dtype, scale, zero=0, *, to=(0.1, 7), between=None, axis=-1, **output):
    """quantize(between(dequantize(x)))."""

    def body(emit, x):
        real = emit(dequantized(x, scale, zero, axis=axis))
        real = real if between is None else between(emit, real)
        return quantized(real, *to, **output)

    return module(body, (shape, dtype))


def ratio_of(scale, to=0.1):
    """The factor between two float32 scales, rounded once."""
    return (np.asarray(np.float32(scale), "float64") / float(np.float32(to))).astype("float32")


@pytest.mark.parametrize(
    ("codes", "zero"), [(CODES, 255), (CODES, 0), (SIGNED, -128), (SIGNED, 127)]
)
@pytest.mark.parametrize(
    "output",
    [{}, {"bits": 4}, {"signed": True}, {"signed": True, "bits": 4, "narrow": True}],
    ids=["uint8", "uint4", "int8", "narrow_int4"],
)
def test_codes_of_other_parameters(codes, zero, output):
    mod = Requantize()(requantized(codes.shape, str(codes.dtype), 0.03, zero, **output))
    assert operators(mod) == ["requantize"]
    low, high = references.range_of(
        output.get("bits", 8), output.get("signed", False), output.get("narrow", False)
    )
    centred = codes.astype("int64") - zero
    found = run(mod, codes)
    assert found.dtype == ("int8" if output.get("signed") else "uint8")
    np.testing.assert_array_equal(
        found, references.requantized(centred, ratio_of(0.03), 7, low, high)
    )


@pytest.mark.parametrize(("rounding", "expected"), [("floor", np.floor), ("ceil", np.ceil)])
def test_other_roundings(rounding, expected):
    mod = Requantize()(requantized(CODES.shape, "uint8", 0.03, 100, rounding=rounding))
    assert operators(mod) == ["requantize"]
    real = (CODES.astype("float32") - 100) * ratio_of(0.03)
    np.testing.assert_array_equal(run(mod, CODES), np.clip(expected(real) + 7, 0, 255))


@pytest.mark.parametrize("scale", [1e-3, np.float32([1e-8, -1e-3, 0.02, 0])], ids=["one", "each"])
def test_sums(scale):
    """Per channel, with a channel turned around by a negative gamma and a dead one."""
    mod = Requantize()(requantized(SUMS.shape, "int32", scale, axis=1))
    expected = references.requantized(SUMS, ratio_of(scale), 7, 0, 255)
    np.testing.assert_array_equal(run(mod, SUMS), expected)


def shifted(sums, shift, rounding):
    """sums / 2**shift by integers alone."""
    if rounding == "floor":
        return sums >> shift
    return (sums + 2 ** (shift - 1) - 1 + (sums >> shift & 1)) >> shift  # half to even


@pytest.mark.parametrize("rounding", ["half_even", "floor"])
@pytest.mark.parametrize("first", [1, 5, 9, 13, 17, 21])
def test_powers_of_two_are_shifts(first, rounding):
    """A product with one is exact; float32 holds the sums that are not clamped in any case."""
    shifts = first + np.arange(4)
    ties = RNG.integers(-300, 300, (200, 4)) * 2**shifts + 2 ** (shifts - 1)
    sums = np.concatenate([SUMS, ties, ties - 1, ties + 1])
    if shifts[-1] > 16:
        sums = sums[(np.abs(sums) <= 2**24).all(axis=1)]
    sums = sums.clip(-(2**31), 2**31 - 1).astype("int32")
    scales = 2.0**-shifts
    mod = requantized(sums.shape, "int32", scales, to=(1.0, 7), axis=1, rounding=rounding)
    mod = Requantize()(mod)
    assert operators(mod) == ["requantize"]
    expected = np.clip(shifted(sums.astype("int64"), shifts, rounding) + 7, 0, 255)
    np.testing.assert_array_equal(run(mod, sums), expected)


OFFSETS = {
    "each": np.float32([0.31, -0.77, 0, 5]),
    "each_of_rank_2": np.float32([[0.31, -0.77, 0, 5]]),
    "each_row": np.linspace(-2, 2, len(SUMS), dtype="float32")[:, None],
    "one": np.float32(0.33),
    "one_of_rank_2": np.float32([[0.33]]),
}


@pytest.mark.parametrize("case", OFFSETS)
@pytest.mark.parametrize("first", [False, True], ids=["right", "left"])
def test_a_float_offset_is_one_more_sum(case, first):
    offset = OFFSETS[case]

    def between(emit, real):
        return emit(relax.op.add(*((const(offset), real) if first else (real, const(offset)))))

    mod = Requantize()(requantized(SUMS.shape, "int32", 1e-3, between=between))
    assert operators(mod) == ["requantize"]
    shift = (offset.astype("float64") / float(np.float32(0.1))).astype("float32")
    expected = references.requantized(SUMS, ratio_of(1e-3), 7, 0, 255, shift)
    np.testing.assert_array_equal(run(mod, SUMS), expected)


@pytest.mark.parametrize("zero", [0, 3])
def test_a_dequantized_offset_of_sums(zero):
    codes = np.array([[2**30 + 5, -(2**31) + 9, 7, 0]], "int32")
    scale = np.float32([1e-8, 3e-9, 0.2, 0])
    zeros = np.full(4, zero)

    def between(emit, real):
        return emit(relax.op.add(real, emit(dequantized(codes, scale, zeros, axis=1))))

    mod = Requantize()(requantized(SUMS.shape, "int32", 1e-3, between=between))
    assert operators(mod) == ["requantize"]
    shift = references.values(codes, scale, zeros).astype("float64") / float(np.float32(0.1))
    expected = references.requantized(SUMS, ratio_of(1e-3), 7, 0, 255, shift.astype("float32"))
    np.testing.assert_array_equal(run(mod, SUMS), expected)


FACTORS = {
    "last_axis": np.float32([1.5, -0.2, 0, 3]),
    "channels_first": np.float32([0.7, -1.1, 2])[:, None, None],
    "positions": RNG.uniform(0.1, 1, (1, 3, 8, 1)).astype("float32"),
    "all": RNG.normal(size=(2, 3, 8, 4)).astype("float32"),
}


@pytest.mark.parametrize("case", FACTORS)
@pytest.mark.parametrize("offset", [None, np.float32([[[0.5]], [[-0.25]], [[0]]])])
@pytest.mark.parametrize(("dtype", "zero"), [("int32", 0), ("uint8", 131), ("int8", -7)])
def test_factors_and_offsets(case, offset, dtype, zero):
    """Batch normalization that no product takes in, an average over part of a window."""
    factor = FACTORS[case]
    limit = 4000 if dtype == "int32" else 128
    x = (RNG.integers(-limit, limit, (2, 3, 8, 4)) + 128 * (dtype == "uint8")).astype(dtype)

    def between(emit, real):
        real = emit(relax.op.multiply(real, const(factor)))
        real = real if offset is None else emit(relax.op.add(real, const(offset)))
        return emit(nn.relu(real))

    scale = 1e-3 if dtype == "int32" else 0.03
    mod = Requantize()(requantized(x.shape, dtype, scale, zero, between=between))
    assert operators(mod) == ["requantize"]
    ratio = float(np.float32(scale)) / float(np.float32(0.1)) * factor.astype("float64")
    shift = None if offset is None else (offset / float(np.float32(0.1))).astype("float32")
    centred = x.astype("int64") - zero
    expected = references.requantized(centred, ratio.astype("float32"), 7, 7, 255, shift)
    np.testing.assert_array_equal(run(mod, x), expected)


def test_an_offset_of_wide_integers():
    """A bias with a scale of its own cannot join the sums; it is a float offset."""
    bias = np.array([100, -50, 0, 7], "int32")

    def between(emit, real):
        return emit(relax.op.add(real, emit(dequantized(bias, 0.01, 3))))

    mod = Requantize()(requantized(SUMS.shape, "int32", 1e-3, between=between))
    assert operators(mod) == ["requantize"]
    real = (bias - 3).astype("float32") * np.float32(0.01)
    shift = (real / float(np.float32(0.1))).astype("float32")
    expected = references.requantized(SUMS, ratio_of(1e-3), 7, 0, 255, shift)
    np.testing.assert_array_equal(run(mod, SUMS), expected)


def test_int16():
    codes = np.arange(-(2**15), 2**15, 3).astype("int16")
    mod = Requantize()(requantized(codes.shape, "int16", 1e-3, 5))
    centred = codes.astype("int64") - 5
    expected = references.requantized(centred, ratio_of(1e-3), 7, 0, 255)
    np.testing.assert_array_equal(run(mod, codes), expected)


def test_a_scalar():
    mod = Requantize()(requantized((), "int32", 1e-3))
    x = np.asarray(1234, "int32")
    assert run(mod, x) == references.requantized(x, ratio_of(1e-3), 7, 0, 255)


CLAMPS = {
    "relu": (lambda x: nn.relu(x), (0, np.inf)),
    "relu6": (lambda x: nn.relu6(x), (0, 6)),
    "clip": (lambda x: relax.op.clip(x, -0.33, 1.27), (-0.33, 1.27)),
    "clip_beyond": (lambda x: relax.op.clip(x, -1e9, 1e9), (-1e9, 1e9)),
    "clip_to_infinity": (lambda x: relax.op.clip(x, 0.3, np.inf), (0.3, np.inf)),
    "clip_below_all_codes": (lambda x: relax.op.clip(x, -90, -80), (-90, -80)),
    "clip_above_all_codes": (lambda x: relax.op.clip(x, 80, 90), (80, 90)),
}


@pytest.mark.parametrize("case", CLAMPS)
def test_clamps(case):
    """The codes of clipped values are clipped codes, whatever rounding does at the limits."""
    operator, (low, high) = CLAMPS[case]
    mod = Requantize()(
        requantized(SUMS.shape, "int32", 1e-3, between=lambda emit, real: emit(operator(real)))
    )
    assert operators(mod) == ["requantize"]
    limits = [int(references.codes(np.float32(v), 0.1, 7, 0, 255)) for v in (low, high)]
    assert [attribute(calls(mod)[0], name) for name in ("low", "high")] == limits
    expected = references.requantized(SUMS, ratio_of(1e-3), 7, *limits)
    np.testing.assert_array_equal(run(mod, SUMS), expected)


@pytest.mark.parametrize("inner", [(-0.5, 0.7), (0.9, 1.5), (-2, -1), (1, -1)])
@pytest.mark.parametrize("outer", [(0, 0.8), (0.3, 0.2)])
def test_clamps_behind_clamps(inner, outer):
    """Also limits in the wrong order, where the lower one wins, as in relax.clip."""

    def between(emit, real):
        return emit(relax.op.clip(emit(relax.op.clip(real, *inner)), *outer))

    x = np.arange(-3000, 3000, dtype="int32")
    before = requantized(x.shape, "int32", 1e-3, between=between, to=(0.1, 7))
    mod = Requantize()(before)
    assert operators(mod) == ["requantize"]
    expected = references.requantized(x, ratio_of(1e-3), 7, 0, 255)
    for limits in (inner, outer):
        low, high = references.codes(np.float32(limits), 0.1, 7, 0, 255)
        expected = np.maximum(np.minimum(expected, high), low)
    np.testing.assert_array_equal(run(mod, x), expected)


def pair(shapes, dtypes=("uint8", "int8"), operator=relax.op.add, **output):
    def body(emit, a, b):
        a, b = emit(dequantized(a, 0.07, 31)), emit(dequantized(b, 0.03, -5))
        return quantized(emit(operator(a, b)), 0.1, 100, **output)

    return module(body, *zip(shapes, dtypes, strict=True))


def pair_codes(shapes):
    return [
        RNG.integers(np.iinfo(dtype).min, np.iinfo(dtype).max + 1, shape).astype(dtype)
        for shape, dtype in zip(shapes, ("uint8", "int8"), strict=True)
    ]


SHAPES = {
    "equal": ((3, 4, 5), (3, 4, 5)),
    "channels": ((3, 4, 5), (5,)),
    "broadcast_both": ((3, 1, 5), (4, 1)),
    "rank_5": ((2, 1, 3, 1, 2), (3, 4, 1)),
    "scalar": ((3, 4), ()),
}


@pytest.mark.parametrize("case", SHAPES)
def test_adds_codes(case):
    mod = Requantize()(pair(SHAPES[case]))
    assert operators(mod) == ["add"]
    a, b = pair_codes(SHAPES[case])
    left = (a.astype("float32") - np.float32(31)) * ratio_of(0.07)
    right = (b.astype("float32") + np.float32(5)) * ratio_of(0.03)
    expected = np.clip(np.rint(left + right) + 100, 0, 255)
    np.testing.assert_array_equal(run(mod, a, b), expected)


@pytest.mark.parametrize("case", ["equal", "broadcast_both"])
def test_multiplies_codes(case):
    mod = Requantize()(pair(SHAPES[case], operator=relax.op.multiply, signed=True, narrow=True))
    assert operators(mod) == ["multiply"]
    a, b = pair_codes(SHAPES[case])
    product = (a.astype("int64") - 31) * (b.astype("int64") + 5)
    scales = [float(np.float32(scale)) for scale in (0.07, 0.03, 0.1)]
    ratio = np.float32(scales[0] * scales[1] / scales[2])
    expected = references.requantized(product, ratio, 100, -127, 127)
    np.testing.assert_array_equal(run(mod, a, b), expected)


def test_adds_codes_to_themselves_and_clamps():
    def body(emit, x):
        real = emit(dequantized(x, 0.07, 31))
        return quantized(emit(nn.relu(emit(relax.op.add(real, real)))), 0.1, 100)

    mod = Requantize()(module(body, (CODES.shape, "uint8")))
    assert operators(mod) == ["add"]
    assert attribute(calls(mod)[0], "low") == 100
    term = (CODES.astype("float32") - 31) * ratio_of(0.07)
    expected = np.clip(np.rint(term + term) + 100, 100, 255)
    np.testing.assert_array_equal(run(mod, CODES), expected)


def test_a_constant_operand():
    other = RNG.integers(0, 256, (4,), dtype="uint8")

    def body(emit, x):
        terms = emit(dequantized(other, 0.07, 31)), emit(dequantized(x, 0.03, 3))
        return quantized(emit(relax.op.add(*terms)), 0.1, 100)

    mod = Requantize()(module(body, ((64, 4), "uint8")))
    assert operators(mod) == ["add"]
    x = CODES.reshape(64, 4)
    left = (other.astype("float32") - 31) * ratio_of(0.07)
    right = (x.astype("float32") - 3) * ratio_of(0.03)
    np.testing.assert_array_equal(run(mod, x), np.clip(np.rint(left + right) + 100, 0, 255))


def test_equal_parameters_are_the_codes_themselves():
    mod = Requantize()(requantized(CODES.shape, "uint8", 0.1, 7))
    assert operators(mod) == []
    np.testing.assert_array_equal(run(mod, CODES), CODES)


def narrowed(read, **output):
    def body(emit, x):
        return quantized(emit(dequantized(x, 0.1, 7, bits=read)), 0.1, 7, **output)

    return module(body, ((16,), "uint8"))


@pytest.mark.parametrize(
    ("mod", "limits"),
    [
        (narrowed(8, bits=4), (0, 15)),
        (narrowed(8, narrow=True), (0, 254)),
        (requantized((16,), "uint8", 0.1, 7, between=lambda emit, x: emit(nn.relu(x))), (7, 255)),
    ],
    ids=["fewer_bits", "narrow", "relu"],
)
def test_equal_parameters_of_a_smaller_range_are_clamped(mod, limits):
    mod = Requantize()(mod)
    assert operators(mod) == ["requantize"]
    assert [attribute(calls(mod)[0], name) for name in ("low", "high")] == list(limits)


def test_fewer_bits_within_a_larger_range_are_the_codes_themselves():
    assert operators(Requantize()(narrowed(4, bits=8))) == []


@settings(max_examples=25, deadline=None)
@given(
    zero=st.integers(0, 255),
    scale=st.floats(2.0**-100, 2.0**100, width=32),
)
def test_equal_parameters_keep_every_code(zero, scale):
    """What the identity rests on: quantizing dequantized codes gives them back."""
    values = references.values(CODES, scale, zero)
    np.testing.assert_array_equal(references.codes(values, scale, zero, 0, 255), CODES)


def test_other_readers_keep_the_floats():
    def body(emit, x):
        real = emit(dequantized(x, 1e-3))
        clamped = emit(nn.relu(real))
        return [emit(quantized(clamped, 0.1, 7)), clamped, emit(quantized(real, 0.2, 9))]

    mod = Requantize()(module(body, (SUMS.shape, "int32")))
    codes, clamped, other = run(mod, SUMS)
    real = references.values(SUMS, 1e-3)
    np.testing.assert_array_equal(clamped, np.maximum(real, 0))
    np.testing.assert_array_equal(codes, references.requantized(SUMS, ratio_of(1e-3), 7, 7, 255))
    np.testing.assert_array_equal(
        other, references.requantized(SUMS, ratio_of(1e-3, 0.2), 9, 0, 255)
    )


def test_scales_are_data():
    mod = Requantize()(requantized(SUMS.shape, "int32", np.ones(4), axis=1))
    (call,) = calls(mod)
    assert [array.shape for array in constants(call)] == [(4,)]


NEAR_MISSES = {
    "16_bits": requantized((4,), "uint8", 0.2, bits=16),
    "scales_of_the_output": requantized((2, 4), "uint8", 0.2, to=(np.ones(4), 0)),
    "zeros_of_the_output": requantized((2, 4), "uint8", 0.2, to=(0.1, np.arange(4))),
    "zeros_of_the_input": requantized((2, 4), "uint8", 0.2, np.arange(4)),
    "scales_along_the_rows": requantized((3, 4), "uint8", np.ones(3), axis=0),
    "negative_output": requantized(
        (4,), "int32", 0.2, to=(-0.1, 7), between=lambda emit, x: emit(nn.relu(x))
    ),
    "one_factor_of_codes": requantized(
        (4,), "uint8", 0.2, between=lambda emit, x: emit(relax.op.multiply(x, const([0.3])))
    ),
    "factor_that_broadcasts": requantized(
        (4,), "int32", 0.2, between=lambda emit, x: emit(relax.op.multiply(x, const([[1], [2]])))
    ),
    "computed_factor": requantized(
        (4,), "int32", 0.2, between=lambda emit, x: emit(relax.op.multiply(x, emit(nn.relu(x))))
    ),
    "offset_that_broadcasts": requantized(
        (4,), "int32", 0.2, between=lambda emit, x: emit(relax.op.add(x, const(np.ones((3, 1)))))
    ),
    "sum_of_sums": pair(((3, 4), (3, 4)), ("int32", "int32")),
    "sum_of_int16": pair(((3, 4), (3, 4)), ("uint8", "int16")),
    "sigmoid": requantized((4,), "uint8", 0.2, between=lambda emit, x: emit(relax.op.sigmoid(x))),
    "difference": pair(((3, 4), (3, 4)), operator=relax.op.subtract),
}


@pytest.mark.parametrize("case", NEAR_MISSES)
def test_leaves_alone(case):
    assert_same(Requantize()(NEAR_MISSES[case]), NEAR_MISSES[case])
