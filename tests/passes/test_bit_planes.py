"""Weighted counts of bits against the plain sum of products, in NumPy integers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcompile.passes.bit_planes import (
    DataPlanes,
    constant_sums,
    pair_coefficients,
    plane_count,
    weight_planes,
)

OUTPUTS, DEPTH = 5, 37


def weights_of(kind: str, bits: int, rng: np.random.Generator) -> np.ndarray:
    shape = (OUTPUTS, DEPTH)
    if kind == "bipolar":
        return 2 * rng.integers(0, 2**bits, shape) - (2**bits - 1)
    if kind == "unsigned":
        return rng.integers(0, 2**bits, shape)
    return rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), shape)


def counted(data: DataPlanes, u: np.ndarray, w: np.ndarray) -> np.ndarray:
    """sum (value of u) * w by counting bits."""
    weights = weight_planes(w)
    bits = np.stack([(u >> i) & 1 for i in range(data.bits)])[:, None, None, :]
    pairs = {"and": bits & weights.planes, "xor": bits ^ weights.planes}[weights.operation]
    counts = pairs.sum(axis=-1, dtype="int64")
    total = (np.array(pair_coefficients(data, weights))[:, :, None] * counts).sum(axis=(0, 1))
    return total + constant_sums(data, weights).sum(axis=-1) + data.offset * w.sum(axis=-1)


@pytest.mark.parametrize("w_bits", range(1, 9))
@pytest.mark.parametrize("kind", ["bipolar", "unsigned", "signed"])
@pytest.mark.parametrize(
    "data",
    [
        DataPlanes(1, low=-1, step=2, zero=0),
        DataPlanes(1, low=0, step=1, zero=0),
        DataPlanes(3, low=0, step=1, zero=5),
        DataPlanes(4, low=-8, step=1, zero=0),
        DataPlanes(8, low=-128, step=1, zero=127),
    ],
    ids=["bipolar", "bit", "zero_point", "signed", "int8"],
)
def test_counts_are_the_sums_of_products(data, kind, w_bits):
    rng = np.random.default_rng(w_bits)
    w, u = weights_of(kind, w_bits, rng), rng.integers(0, 2**data.bits, DEPTH)
    values = data.low + data.step * u - data.zero
    np.testing.assert_array_equal(counted(data, u, w), (w * values).sum(axis=-1))


@pytest.mark.parametrize("kind", ["bipolar", "unsigned", "signed"])
@pytest.mark.parametrize("bits", range(1, 9))
def test_planes_are_counted_without_making_them(kind, bits):
    w = weights_of(kind, bits, np.random.default_rng(bits))
    assert plane_count(w) == weight_planes(w).bits == len(weight_planes(w).planes)


@settings(max_examples=200, deadline=None)
@given(
    w=st.lists(st.integers(-128, 127), min_size=DEPTH, max_size=DEPTH),
    factor=st.integers(1, 3),
    u=st.lists(st.integers(0, 3), min_size=DEPTH, max_size=DEPTH),
)
def test_any_weights(w, factor, u):
    data = DataPlanes(2, low=0, step=1, zero=1)
    weights, codes = factor * np.array([w]), np.array(u)
    expected = (weights * (codes - 1)).sum(axis=-1)
    np.testing.assert_array_equal(counted(data, codes, weights), expected)


@pytest.mark.parametrize(
    ("values", "operation", "bits"),
    [
        ([-1, 1], "xor", 1),
        ([-3, 3], "xor", 1),
        ([-3, -1, 1, 3], "xor", 2),
        ([0, 1], "and", 1),
        ([0, 4], "and", 1),
        ([-1, 0, 1], "and", 2),
        ([-2, -1, 0, 1], "and", 2),
        ([0, 0], "and", 1),
        ([-128, 127], "and", 8),
    ],
)
def test_fewest_planes(values, operation, bits):
    found = weight_planes(np.array([values]))
    assert (found.operation, found.bits) == (operation, bits)


@pytest.mark.parametrize(
    ("data", "u"),
    [
        (DataPlanes(1, -1, 2, 0), None),
        (DataPlanes(2, 0, 1, 0), 0),
        (DataPlanes(4, -8, 1, 0), 8),
        (DataPlanes(2, 0, 1, 9), None),
    ],
)
def test_the_bits_of_zero(data, u):
    assert data.padding == u
