"""Values of a few bits, against their definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcompile.quantizer.grid import Grid, Quantizer

GRIDS = st.builds(Grid, st.integers(1, 8), st.booleans())


def values_of(grid):
    """Every code that the grid has."""
    return np.array([-1, 1]) if grid.bipolar else np.arange(grid.low, grid.high + 1)


@given(GRIDS)
def test_has_as_many_codes_as_its_bits_tell(grid):
    assert len(values_of(grid)) == 2**grid.bits


@given(GRIDS, st.lists(st.floats(-300, 300, width=32), min_size=1, max_size=20))
def test_rounds_to_the_nearest_code(grid, numbers):
    steps = np.array(numbers, "float32")
    codes = grid.codes(steps)

    assert np.isin(codes, values_of(grid)).all()
    distances = np.abs(steps[:, None] - values_of(grid)).min(axis=1)
    np.testing.assert_array_equal(np.abs(steps - codes), distances)


@pytest.mark.parametrize(
    ("grid", "codes"),
    [
        (Grid(2, False), [0, 0, 2, 2, 3]),
        (Grid(3, True), [0, 0, 2, 2, 3]),
        (Grid(1, True), [1, 1, 1, 1, 1]),
    ],
)
def test_rounds_ties_to_even(grid, codes):
    np.testing.assert_array_equal(grid.codes(np.array([0, 0.5, 1.5, 2.5, 9])), codes)


def test_computes_in_float32():
    rng = np.random.default_rng(0)
    x, scale = rng.normal(size=1000).astype("float32"), np.float32(0.37)
    expected = np.rint(np.clip(x / scale, -8, 7)) * scale

    found = Quantizer(Grid(4, True), scale)(x)

    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)
