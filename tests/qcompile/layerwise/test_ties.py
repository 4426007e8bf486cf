"""Grids, quantizers behind given tensors, and distances from ties, against onnxruntime."""

import numpy as np
import pytest

from qcompile.layerwise.grids import grid_of, keeping, trunc_divisor
from qcompile.layerwise.ties import rounded
from tests.qcompile.layerwise.quantizers import QUANTIZERS, model, node, tensors

pytest.importorskip("onnxruntime")

STEP = 2**-9
# (2, ...) rows of increasing values, for parameters of two channels; off all boundaries by a bit.
X = np.stack([np.arange(-3, 3, STEP) + STEP / 3] * 2).astype("float32")


def made(name):
    """A quantizer's node and constants, and its result for X."""
    single, constants = QUANTIZERS[name]
    return single, constants, tensors(model([single], constants, X), X)["y"]


@pytest.mark.parametrize("name", QUANTIZERS)
def test_codes_are_whole_and_neighbours(name):
    single, constants, y = made(name)
    grid = grid_of(single, constants)
    codes = grid.codes(y)
    np.testing.assert_allclose(grid.values(codes), y, rtol=1e-6, atol=1e-6)
    assert set(np.abs(np.diff(codes)).reshape(-1)) == {0, grid.step}


@pytest.mark.parametrize("name", QUANTIZERS)
def test_the_quantizer_behind_keeps_what_is_given(name):
    single, constants, y = made(name)
    nodes, further = keeping([single], constants, "x", "kept")
    arrays = constants | {t.name: np.frombuffer(t.raw_data, "float32") for t in further}
    arrays |= {t.name: arrays[t.name].reshape(tuple(t.dims)) for t in further}
    kept = tensors(model(nodes, arrays, y), y)["kept"]
    np.testing.assert_array_equal(kept, y)


def assert_distances(real, codes, unit):
    """Next to a change of the codes, and only there, the boundary is as near as the change.

    unit: the distance of neighbouring values, in steps; it broadcasts to the codes.
    """
    unit = np.broadcast_to(unit, codes.shape)
    changes = np.diff(codes, axis=-1) != 0
    assert changes.any()
    for side in (slice(None, -1), slice(1, None)):
        where = np.zeros(codes.shape, bool)
        where[..., side] = changes
        low = np.minimum(codes[..., :-1], codes[..., 1:])[changes]
        assert (real.distance(where, low) <= unit[where] * 1.001).all()
    still = np.zeros(codes.shape, bool)
    still[..., :-1] = ~changes & (codes[..., :-1] < codes.max())
    # Of values that keep their code over a whole step upwards, the upper boundary is farther.
    upward = real.distance(still, codes[still])
    assert (upward >= unit[still] * 0.999).all()


@pytest.mark.parametrize("name", QUANTIZERS)
def test_distances_from_ties(name):
    single, constants, y = made(name)
    grid = grid_of(single, constants)
    real = rounded(single, {**constants, "x": X})
    largest = np.abs(X).max()
    relative = grid.step == 2 or single.op_type == "MultiThreshold"
    step = np.asarray(constants.get("c0"))
    if single.op_type == "Trunc":
        step = step * trunc_divisor(single, constants)
    unit = STEP / (largest if relative else step)
    assert_distances(real, grid.codes(y), unit)


LINEAR = {
    "uint8": (np.float32(0.5), np.uint8(3)),
    "int8": (np.float32(0.5), np.int8(-3)),
    "without a zero point": (np.float32(0.25),),
    "by channels": (np.float32([0.5, 0.25]), np.int8([1, -2])),
}


@pytest.mark.parametrize("name", LINEAR)
def test_distances_of_quantize_linear(name):
    single, constants = node("QuantizeLinear", *LINEAR[name], domain="", axis=0)
    codes = tensors(model([single], constants, X), X)["y"].astype("int64")
    real = rounded(single, {**constants, "x": X})
    assert_distances(real, codes, STEP / LINEAR[name][0].reshape(-1, 1))
    assert real.float_error == pytest.approx(4e-5 * np.abs(real.values).max())


def test_distances_of_dynamic_quantization():
    single, _ = node("DynamicQuantizeLinear", domain="", outputs=("y", "s", "z"))
    known = tensors(model([single], {}, X), X)
    real = rounded(single, {**known, "x": X})
    assert_distances(real, known["y"].astype("int64"), STEP / known["s"])


def test_tells_of_no_rounding_where_there_is_none():
    single, constants = node("MaxPool", domain="", kernel_shape=[2])
    assert rounded(single, {**constants, "x": X}) is None
