"""The tile of sums that a kernel on bits keeps in registers: `rows` of data by `vectors` of sums.

One step loads a vector of words of each plane of weights for each of `vectors`, broadcasts a word
of each plane of each row, and counts the bits of all pairs. Costs are in instructions.
"""

from qcompile.schedules.bit_product import Planes
from qcompile.schedules.popcount import WORD_BITS, Popcount
from qcompile.schedules.tile import MAX_STREAMS, Tile
from qcompile.targets import Target

# What a tile costs besides its words, and the epilogue of one vector, in instructions.
TILE_COST, EPILOGUE_COST = 40, 8
# Vectors of a tile where loads are nearly free and broadcasts are not: all that registers hold.
STREAMS = {"uadalp": 16, "udot": 16}
# Registers for a product of words and its count, once sums and weights have theirs.
IN_STEP = 2


def bit_tiles(
    target: Target, popcount: Popcount, planes: Planes, rows: int, vectors: int
) -> list[Tile]:
    """Tiles whose sums stay in registers, of at most so many rows and vectors; at least one.

    Where whole words of outputs are possible, tiles are such or divide one.
    """
    word = WORD_BITS // popcount.lanes
    whole = vectors % word == 0
    streams = STREAMS.get(popcount.form, MAX_STREAMS)
    found = [
        Tile(r, v)
        for v in range(1, min(vectors, streams) + 1)
        for r in range(1, rows + 1)
        if r * v * planes.pairs + popcount.spare <= target.vector_registers
        and (not whole or v % word == 0 or word % v == 0)
    ]
    return found or [Tile(1, 1)]


def tiles_of_word(tile: Tile, popcount: Popcount, vectors: int) -> int:
    """How many tiles, one after the other, make whole words of outputs; 1 where nothing does."""
    word = WORD_BITS // popcount.lanes
    return word // tile.vectors if vectors % word == 0 and tile.vectors < word else 1


def bit_tile_cost(
    tile: Tile, words: int, popcount: Popcount, planes: Planes, target: Target
) -> float:
    """About how many instructions one tile takes for a reduction over `words`."""
    sums = tile.rows * tile.vectors * planes.data * planes.weights
    panel_bytes = words * tile.vectors * planes.weights * popcount.lanes * 4
    far = panel_bytes > target.l1d_bytes // 2
    load = popcount.far_load_cost if far else popcount.load_cost
    step = popcount.cost * max(sums, popcount.in_flight)
    held = tile.vectors * planes.weights
    # Without a register for each, every row loads its vectors of weights again.
    loads = held if sums + held + IN_STEP <= target.vector_registers else held * tile.rows
    step += load * (held if popcount.in_bytes else loads)
    step += popcount.broadcast_cost * tile.rows * planes.data
    return words // popcount.step * step + TILE_COST + EPILOGUE_COST * sums
