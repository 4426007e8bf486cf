"""The tile of sums that an int8 kernel keeps in registers: `rows` of data by `vectors` of outputs.

One step loads `vectors` registers of weights, broadcasts four bytes of each row and issues
`rows * vectors` dot products, the unit of all costs here.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import ceil

from qcompile.schedules.dot import Dot
from qcompile.targets import Target

# Vectors of weights are as many streams from memory; hardware follows about so many.
MAX_STREAMS = 8
# What a tile costs besides its steps, and the epilogue of one vector.
TILE_COST, EPILOGUE_COST = 20, 5
# How many tiles are worth to be measured: the others cost far more than the best.
MOST_TILES = 48
# Work below which a second thread costs more than it brings.
SMALLEST_PARALLEL_S = 20e-6


@dataclass(frozen=True)
class Tile:
    rows: int
    vectors: int


def tiles(target: Target, dot: Dot, rows: int, vectors: int) -> Iterator[Tile]:
    """The tiles that fit the register file, of at most so many rows and vectors."""
    for v in range(1, min(vectors, MAX_STREAMS) + 1):
        room = target.vector_registers - v * dot.held - dot.spare
        highest = min(round_up(rows, dot.rows), room // (v * dot.parts))
        for r in range(dot.rows, highest + 1, dot.rows):
            yield Tile(r, v)


def image_tiles(shapes: Iterable[Tile], height: int, width: int) -> Iterator[tuple[int, int, int]]:
    """The tiles as (rows, columns, vectors) of an image of outputs.

    Several rows are whole ones and divide the height.
    """
    for tile in shapes:
        for rows in range(1, tile.rows + 1):
            if height % rows or tile.rows % rows:
                continue
            columns = tile.rows // rows
            if columns == width or (rows == 1 and columns <= width):
                yield rows, columns, tile.vectors


def tile_cost(tile: Tile, steps: int, dot: Dot, target: Target) -> float:
    """About how long one tile takes for a reduction of `steps`."""
    panel_bytes = steps * tile.vectors * dot.lanes * dot.depth
    b_cost = dot.b_cost + (dot.far_cost if panel_bytes > target.l1d_bytes // 2 else 0)
    # Processors load as often as they multiply.
    dots = max(tile.rows * tile.vectors, dot.in_flight, tile.rows + tile.vectors)
    step = dots + dot.a_cost * tile.rows + b_cost * tile.vectors
    return steps * step + TILE_COST + EPILOGUE_COST * tile.rows * tile.vectors


def worth_threads(products: int, dot: Dot, target: Target) -> bool:
    """Whether so many multiplications take one core long enough to share them."""
    return products / (dot.lanes * dot.depth) / target.clock_hz >= SMALLEST_PARALLEL_S


def round_up(value: int, unit: int) -> int:
    return ceil(value / unit) * unit
