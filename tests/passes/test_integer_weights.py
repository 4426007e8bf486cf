import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcompile.passes.facts import Codes
from qcompile.passes.integer_weights import INT32_MAX, largest_code, signed_weights, sums_fit
from tests.passes.modules import dequantized


def codes_of(array, scale=1.0, zero=0, axis=0, bits=8):
    return Codes(
        data=dequantized(array, scale, zero).args[0],
        scale=np.asarray(scale, "float32"),
        zero=np.asarray(zero, "int64"),
        axis=axis,
        bits=bits,
        signed=array.dtype == np.int8,
    )


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_codes_less_zero_are_the_weights(data):
    dtype = data.draw(st.sampled_from(["int8", "uint8"]))
    low, high = (-128, 127) if dtype == "int8" else (0, 255)
    code = st.integers(low, high)
    outputs, depth = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 5))
    array = np.array(
        data.draw(st.lists(code, min_size=outputs * depth, max_size=outputs * depth)), dtype
    ).reshape(outputs, depth)
    size = data.draw(st.sampled_from([1, outputs]))
    zero = np.array(data.draw(st.lists(code, min_size=size, max_size=size)))
    axis = data.draw(st.sampled_from([0, 1]))
    stored = array if axis == 0 else array.T

    weights = signed_weights(codes_of(stored, zero=zero, axis=axis), stored, axis)

    assert weights is not None
    assert weights.codes.dtype == np.int8
    centred = array.astype("int64") - zero.reshape(-1, 1)
    np.testing.assert_array_equal(weights.codes.astype("int64") - weights.zero[:, None], centred)
    if centred.min() >= -128 and centred.max() <= 127:
        np.testing.assert_array_equal(weights.codes, centred)


def test_scales_are_spread_over_the_outputs():
    array = np.ones((3, 2), "int8")
    weights = signed_weights(codes_of(array, scale=0.5, bits=4), array, 0)
    np.testing.assert_array_equal(weights.scale, np.float32([0.5] * 3))
    assert weights.bits == 4


@pytest.mark.parametrize(
    "codes",
    [
        codes_of(np.ones((3, 2), "int8"), scale=[1, 2], axis=1),
        codes_of(np.ones((3, 2), "int8"), zero=[1, 2], axis=1),
        codes_of(np.ones((3, 2), "int8"), scale=[1, 2, 3], axis=1),
        codes_of(np.full((3, 2), 1000, "int16")),
    ],
    ids=["scales_along_the_depth", "zeros_along_the_depth", "wrong_axis", "wide"],
)
def test_leaves_other_weights_alone(codes):
    array = codes.data.value.numpy()
    assert signed_weights(codes, array, 0) is None


@pytest.mark.parametrize(("dtype", "zero"), [("int8", -128), ("int8", 127), ("uint8", 0)])
def test_largest_code_covers_codes_and_differences(dtype, zero):
    codes = codes_of(np.zeros(1, dtype), zero=zero)
    assert largest_code(codes) == 255


def test_sums_at_the_limit():
    depth = INT32_MAX // 2 // (127 * 255)
    for extra, fits in ((0, True), (1, False)):
        array = np.full((1, depth + extra), 127, "int8")
        weights = signed_weights(codes_of(array), array, 0)
        assert sums_fit(weights, 255) is fits


def test_sums_of_codes_with_their_zero_points():
    """Codes near 0 whose zero point is far away sum up as fast as large ones."""
    array = np.full((1, 70_000), 1, "uint8")
    near = signed_weights(codes_of(array, zero=0), array, 0)
    far = signed_weights(codes_of(array, zero=255), array, 0)
    assert sums_fit(near, 255)
    assert not sums_fit(far, 255)


def test_no_weights_at_all():
    array = np.zeros((0, 4), "int8")
    weights = signed_weights(codes_of(array), array, 0)
    assert weights is not None
    assert sums_fit(weights, 255)
