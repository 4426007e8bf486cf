"""Steps of activations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcompile.quantizer.ranges import fit_activations

RNG = np.random.default_rng(0)
POSITIVE = [np.abs(RNG.normal(size=(50, 4))).astype("float32") for _ in range(3)]
BOTH = [RNG.normal(size=(50, 4)).astype("float32") for _ in range(3)]


def error(quantizer, chunks):
    return sum(float(np.square(quantizer(chunk) - chunk).sum()) for chunk in chunks)


def test_is_unsigned_where_nothing_is_negative():
    assert not fit_activations(POSITIVE, 4, "mse", 99.9).grid.signed
    assert fit_activations(BOTH, 4, "mse", 99.9).grid.signed


def test_minmax_reaches_the_largest_value():
    found = fit_activations(POSITIVE, 4, "minmax", 99.9)
    assert float(found.scale) * 15 == pytest.approx(max(c.max() for c in POSITIVE), rel=1e-6)


def test_minmax_reaches_both_ends_of_signed_values():
    found = fit_activations(BOTH, 3, "minmax", 99.9)
    ends = max(c.max() for c in BOTH) / 3, max((-c).max() for c in BOTH) / 4
    assert float(found.scale) == pytest.approx(max(ends), rel=1e-6)


def test_percentile_is_of_the_sizes():
    found = fit_activations(BOTH, 8, "percentile", 90)
    sizes = np.abs(np.concatenate(BOTH))
    assert float(found.scale) * 127 == pytest.approx(np.percentile(sizes, 90), rel=1e-6)


@given(st.integers(1, 8), st.integers(0, 2**31))
def test_mse_is_never_worse_than_minmax(bits, seed):
    chunks = [np.random.default_rng(seed).exponential(size=(40, 5)).astype("float32")]
    errors = [error(fit_activations(chunks, bits, r, 99.9), chunks) for r in ("mse", "minmax")]
    assert errors[0] <= errors[1]


def test_one_signed_bit_has_the_mean_size():
    found = fit_activations(BOTH, 1, "mse", 99.9)
    assert found.grid.bipolar
    assert float(found.scale) == pytest.approx(np.abs(np.concatenate(BOTH)).mean(), rel=1e-6)


@pytest.mark.parametrize("ranges", ["mse", "minmax", "percentile"])
def test_values_that_are_all_zero_stay_zero(ranges):
    zeros = [np.zeros((3, 3), "float32")]
    found = fit_activations(zeros, 4, ranges, 99.9)
    np.testing.assert_array_equal(found(zeros[0]), zeros[0])


def test_pixels_of_eight_bits_are_exact():
    pixels = [np.arange(256, dtype="float32").reshape(1, -1)]
    np.testing.assert_array_equal(fit_activations(pixels, 8, "mse", 99.9)(pixels[0]), pixels[0])
