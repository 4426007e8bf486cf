"""Sums are scaled by shifts and additions: the module made, its integers, what stays exact."""

from itertools import product

import numpy as np
import pytest
from tvm import relax

from qcompile.ops import add, conv2d, dense, requantize
from qcompile.passes.power_of_two_report import rescaled_layers
from qcompile.passes.shift_add import ShiftAdd
from qcompile.passes.shift_add_terms import GUARD, shift_add_terms
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

RNG = np.random.default_rng(8)
IMAGE = RNG.integers(0, 256, (1, 5, 6, 3)).astype("uint8")
WEIGHTS = RNG.integers(-127, 128, (8, 3, 3, 3)).astype("int8")
BIAS = RNG.integers(-3000, 3000, 8).astype("int32")
FACTOR = (RNG.uniform(0.5, 1, 8) / 300).astype("float32")
OFFSET = RNG.uniform(-9, 9, 8).astype("float32")
CODES = {"zero_point": 7, "low": 2, "high": 250, "dtype": "uint8"}
GEOMETRY = {"strides": (1, 2), "padding": (1, 0, 1, 2), "dilation": (1, 1), "groups": 1}


def convolution(emit, x, weights=WEIGHTS, w_bits=8):
    attributes = {"zero_point": 9, "bits": (8, w_bits), "codes": (0, 1), "layer": "first"}
    arguments = (x, const(weights, "int8"), const(BIAS, "int32"))
    return emit(conv2d(*arguments, **GEOMETRY, **attributes))


def network(factor=FACTOR, offset=OFFSET, rounding="half_even", weights=WEIGHTS, w_bits=8):
    def body(emit, x):
        terms = [const(factor), None if offset is None else const(offset)]
        sums = convolution(emit, x, weights, w_bits)
        return emit(requantize(sums, *terms, input_zero=0, rounding=rounding, **CODES))

    return module(body, (IMAGE.shape, "uint8"))


def sums_of(weights):
    geometry = {key: GEOMETRY[key] for key in ("strides", "padding")}
    return references.conv2d(IMAGE.astype("int64") - 9, weights.astype("int64"), **geometry)


def codes_of(call, sums):
    """The operator's formula."""
    bias, shift, *terms = (array.astype("int64") for array in constants(call))
    a = (sums << attribute(call, "lift")) + bias
    total = a + sum(a >> amounts for amounts in terms)
    return np.clip((total >> shift) + attribute(call, "offset"), 2, 250)


@pytest.mark.parametrize("factor", [FACTOR, FACTOR[:1], -FACTOR, FACTOR * 40])
@pytest.mark.parametrize("offset", [None, OFFSET])
def test_keeps_the_numbers_within_the_error_of_scales(factor, offset):
    before, mod = network(factor, offset), ShiftAdd()(network(factor, offset))
    assert operators(mod) == ["conv2d", "shift_add"]
    (conv,), (call,) = calls(mod, "qcompile.conv2d"), calls(mod, "qcompile.shift_add")
    weights, bias = constants(conv)
    np.testing.assert_array_equal(weights, WEIGHTS if factor[0] > 0 else -WEIGHTS)
    assert not bias.any()
    found = run(mod, IMAGE)
    np.testing.assert_array_equal(found, codes_of(call, sums_of(weights)))

    real = sums_of(WEIGHTS) * factor.astype("float64")
    difference = found.astype("int64") - run(before, IMAGE)
    (layer,) = rescaled_layers(mod)
    # Of the sums alone: what is added to them has no error. One more where both round.
    assert (np.abs(difference) <= np.abs(real) * layer.largest_error + 1).all()
    assert 0 < layer.error <= layer.largest_error <= 1 / 15 + 1e-6 and layer.powers > 1


def test_rounds_to_the_nearest():
    """A scale without an error, and sums that terms drop bits of, negative ones too."""
    factor = np.float32((1 + 2.0**-3 + 2.0**-6) / 512)
    mod = ShiftAdd()(network(np.full(8, factor), OFFSET))
    real = (sums_of(WEIGHTS) + BIAS) * float(factor) + OFFSET
    found = run(mod, IMAGE).astype("float64") - 7
    inside = (found > -5) & (found < 243)
    assert inside.sum() > 50
    assert np.abs(found - real)[inside].max() <= 0.5 + 2.0**-GUARD


def test_amounts_that_all_channels_share_are_single():
    mod = ShiftAdd()(network(FACTOR[:1]))
    (call,) = calls(mod, "qcompile.shift_add")
    bias, *amounts = constants(call)
    assert bias.shape == (8,) and [each.shape for each in amounts] == [(), ()]
    assert not rescaled_layers(mod)[0].per_channel


@pytest.mark.parametrize("count", [0, 1, 2])
def test_takes_no_more_powers_than_needed(count):
    factor = sum((2.0**-d for d in (3, 6)[:count]), start=1.0) * 2.0 ** -np.arange(7, 15)
    mod = ShiftAdd()(network(factor.astype("float32"), None))
    (call,), (layer,) = calls(mod, "qcompile.shift_add"), rescaled_layers(mod)
    assert len(constants(call)) == 2 + count and layer.powers == 1 + count
    assert layer.error == 0 and layer.shift == tuple(range(7, 15))
    np.testing.assert_array_equal(run(mod, IMAGE), codes_of(call, sums_of(WEIGHTS)))


def test_finds_the_nearest_sums_of_three():
    multiplier = RNG.uniform(1, 2, 50) * 2.0 ** -RNG.integers(3, 12, 50)
    found = shift_add_terms(multiplier, np.zeros(50), np.full(50, 5000))
    scales = 2.0 ** (found.lift - found.shift) * (1 + (2.0**-found.terms).sum(axis=0))
    every = [2.0**-a + 2.0**-b + 2.0**-c for a, b, c in product(range(1, 24), repeat=3)]
    nearest = np.abs(np.array(every)[:, None] - multiplier).min(axis=0)
    # Powers beyond 2^-15 of the first are not to be had.
    assert (np.abs(scales - multiplier) <= nearest + multiplier * 2.0**-14).all()
    assert found.shift.min() >= GUARD and found.error == pytest.approx(
        np.sqrt(np.square(scales / multiplier - 1).mean())
    )


def test_sums_are_lifted_where_codes_are_coarse():
    fine, coarse = (
        shift_add_terms(np.array([m]), np.zeros(1), np.array([900])) for m in (0.011, 0.7)
    )
    assert fine.lift == 0 and coarse.lift == GUARD - 1
    full = shift_add_terms(np.array([0.7]), np.zeros(1), np.array([2**29]))
    assert full.lift == 1
    assert shift_add_terms(np.array([3.0]), np.zeros(1), np.array([2**30])) == (
        "no shift holds its sums"
    )


def test_channels_that_never_move_a_code_have_no_sums():
    factor = FACTOR.copy()
    factor[[2, 5]] = 0, 2.0**-28
    mod = ShiftAdd()(network(factor))
    (conv,), (call,) = calls(mod, "qcompile.conv2d"), calls(mod, "qcompile.shift_add")
    weights, _ = constants(conv)
    assert not weights[[2, 5]].any()
    found = run(mod, IMAGE)
    np.testing.assert_array_equal(found, codes_of(call, sums_of(weights)))
    constant = np.clip(np.rint(factor * BIAS.astype("float64") + OFFSET) + 7, 2, 250)
    assert (found[..., [2, 5]] == constant[[2, 5]]).all()


def test_layers_without_sums_are_constant():
    mod = ShiftAdd()(network(weights=0 * WEIGHTS))
    constant = np.rint(BIAS * FACTOR.astype("float64") + OFFSET) + 7
    assert (run(mod, IMAGE) == np.clip(constant, 2, 250)).all()


def test_scales_as_far_apart_as_shifts_reach():
    multiplier = 1.9 * 2.0 ** -np.arange(8.0, 22.0)
    found = shift_add_terms(multiplier, np.zeros(14), np.full(14, 2**20))
    assert not found.still.any() and np.ptp(found.shift) <= 15
    assert found.largest_error <= 1 / 15


def test_weights_of_few_bits_keep_them():
    few = (WEIGHTS // 32).astype("int8")  # -4 to 3
    signs = np.where(np.arange(8) % 2, -1, 1).astype("float32")
    for factor, bits in ((FACTOR * 40, 3), (FACTOR * 40 * signs, 4)):
        mod = ShiftAdd()(network(factor, weights=few, w_bits=3))
        (conv,), (call,) = calls(mod, "qcompile.conv2d"), calls(mod, "qcompile.shift_add")
        assert attribute(conv, "w_bits") == bits
        np.testing.assert_array_equal(run(mod, IMAGE), codes_of(call, sums_of(constants(conv)[0])))


def test_dense():
    rows, weights = RNG.integers(-8, 8, (4, 20)).astype("int8"), RNG.integers(-1, 2, (6, 20))

    def body(emit, x):
        attributes = {"zero_point": 0, "bits": (4, 2), "codes": (-8, 1), "layer": "last"}
        arguments = (x, const(weights, "int8"), const(np.zeros(6), "int32"))
        sums = emit(dense(*arguments, **attributes))
        return requantize(sums, const(0.3), None, input_zero=0, **CODES)

    mod = ShiftAdd()(module(body, (rows.shape, "int8")))
    (call,) = calls(mod, "qcompile.shift_add")
    found = run(mod, rows)
    np.testing.assert_array_equal(found, codes_of(call, rows.astype("int64") @ weights.T))
    # 2^-2 + 2^-5 + 2^-6 = 0.296875
    assert np.abs(found - (rows @ weights.T * 0.296875 + 7).clip(2, 250)).max() <= 0.6


def test_branches_are_rounded_before_their_sum():
    residual = RNG.integers(0, 256, (1, 5, 3, 8)).astype("uint8")

    def body(emit, x, a):
        sums = convolution(emit, x)
        branch = emit(requantize(sums, const(FACTOR), None, input_zero=0, **CODES))
        return add(a, branch, scales=(0.75, 2.5), zeros=(12, 7), **CODES)

    mod = ShiftAdd()(module(body, (IMAGE.shape, "uint8"), (residual.shape, "uint8")))
    assert operators(mod) == ["conv2d", "shift_add", "add"]
    codes = codes_of(calls(mod, "qcompile.shift_add")[0], sums_of(WEIGHTS))
    total = (residual.astype("int64") - 12) * 3 + (codes - 7) * 10
    np.testing.assert_array_equal(
        run(mod, IMAGE, residual), np.clip(((total + 2) >> 2) + 7, 2, 250)
    )


LOWEST = np.where(np.arange(8)[:, None, None, None] == 3, -128, WEIGHTS).astype("int8")
EXACT = {
    "rounding": (network(rounding="down"), "its rounding is down"),
    "lowest weights": (network(-FACTOR, weights=LOWEST), "weights of -128 have a negative scale"),
    "far apart": (network(np.float32([64, 2.0**-12, *FACTOR[2:]])), "its scales are from 2^"),
    "not finite": (network(np.float32([np.inf, *FACTOR[1:]])), "its scales are not finite"),
    "too large": (network(FACTOR * np.float32(2.0**40)), "no shift holds its sums"),
}


@pytest.mark.parametrize("name", EXACT)
def test_keeps_scales_and_tells_why(name):
    mod, reason = EXACT[name]
    after = ShiftAdd()(mod)
    assert [reason in layer.reason for layer in rescaled_layers(after)] == [True]
    assert_same(after.without_attr("qcompile.power_of_two"), mod)


def test_leaves_other_modules_alone():
    def body(emit, x):
        return relax.op.add(x, x)

    mod = module(body, (IMAGE.shape, "uint8"))
    assert_same(ShiftAdd()(mod).without_attr("qcompile.power_of_two"), mod)
