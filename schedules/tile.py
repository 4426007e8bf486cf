"""The tile of sums that an int8 kernel keeps in registers: `rows` of data by `vectors` of outputs.

One step loads `vectors` registers of weights, broadcasts four bytes of each row and issues
`rows * vectors` dot products.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from qcompile.schedules.intrinsics_x86 import DEPTH, Dot, dot_of
from qcompile.targets import Target

# What a load costs, in dot products: nearly nothing from L1, more when weights come from L2.
NEAR_LOAD, FAR_LOAD = 0.15, 0.5
# Dot products that must be in flight to hide their latency: 5 cycles, 2 a cycle.
IN_FLIGHT = 10
# What a tile costs besides its steps, in dot products, and what the epilogue of a vector costs.
TILE_COST, EPILOGUE_COST = 20, 5
# Work below which a second thread costs more than it brings.
SMALLEST_PARALLEL_S = 20e-6


@dataclass(frozen=True)
class Tile:
    rows: int
    vectors: int


def tiles(target: Target, rows: int, vectors: int) -> Iterator[Tile]:
    """The tiles that fit the register file, of at most so many rows and vectors."""
    dot = dot_of(target)
    for v in range(1, vectors + 1):
        room = target.vector_registers - v * dot.held - dot.scratch
        for r in range(1, min(rows, room // v) + 1):
            yield Tile(r, v)


def tile_cost(tile: Tile, steps: int, target: Target) -> float:
    """About how long one tile takes for a reduction of `steps`, in dot products."""
    dot = dot_of(target)
    panel_bytes = steps * tile.vectors * dot.lanes * DEPTH
    load = NEAR_LOAD if panel_bytes <= target.l1d_bytes // 2 else FAR_LOAD
    step = max(tile.rows * tile.vectors, IN_FLIGHT) + NEAR_LOAD * tile.rows + load * tile.vectors
    return steps * step + TILE_COST + EPILOGUE_COST * tile.rows * tile.vectors


def worth_threads(products: int, dot: Dot, target: Target) -> bool:
    """Whether so many multiplications take one core long enough to share them."""
    return products / (dot.lanes * DEPTH) / target.clock_hz >= SMALLEST_PARALLEL_S


def round_up(value: int, unit: int) -> int:
    return ceil(value / unit) * unit
