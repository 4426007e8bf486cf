"""choose_tile and pack_columns."""

import numpy as np
import pytest

from qcompile.schedules.tile_f32 import Tile, choose_tile, pack_columns
from qcompile.targets import load_target


@pytest.mark.parametrize("name", ["x86-64-v3", "znver4"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 1000), (7, 512), (56, 64), (40, 6625), (197, 768)])
def test_tile_fits_the_registers(shape, name):
    target = load_target(name)
    tile = choose_tile(*shape, target)
    assert tile.rows * tile.vectors + tile.vectors + 1 <= target.vector_registers
    assert tile.rows <= shape[0]


def test_whole_tiles_end_with_the_columns():
    target = load_target("znver4")
    tile = choose_tile(100, 13 * 16, target, whole=True)
    assert 13 % tile.vectors == 0


def test_packs_columns_and_fills_up_with_zeros():
    weights = np.arange(30, dtype="float32").reshape(10, 3)
    packed = pack_columns(weights, Tile(rows=2, vectors=2, lanes=4))
    assert packed.shape == (4, 3, 4)
    np.testing.assert_array_equal(packed[1, 2], weights[4:8, 2])
    np.testing.assert_array_equal(packed[2, :, 2:], 0)
    np.testing.assert_array_equal(packed[3], 0)
