"""A tile of float32 sums kept in registers: its size, its packed operand, its loops.

The kernels dense_f32, conv2d_f32 and batch_matmul_f32 share it. A tile is `rows` output rows (or
pixels) by `vectors` vectors of output columns. Each step of the reduction loads `vectors` vectors
of the packed operand, and every one of the `rows` numbers of the other operand once, broadcast.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, gcd
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from tvm import s_tir, tirx
from tvm.s_tir.schedule import SBlockRV

from qcompile.schedules.epilogue import inline_epilogue
from qcompile.schedules.space import (
    MOST_UNROLLED,
    ORDERS,
    Decision,
    Decisions,
    Space,
    chunks,
    divisors,
    first,
    frozen,
)
from qcompile.schedules.tile import MOST_TILES
from qcompile.targets import Target

FLOAT_BYTES = 4
FMAS_PER_CYCLE = 2  # of one core of every processor in targets/ that has FMA
FMA_LATENCY = 4  # cycles, Zen 2 to 5 and Intel since Skylake: fewer chains than this times 2 stall
VECTOR_LOAD = 2  # cost of a vector, from the second-level cache, to a number from the first
Problem = TypeVar("Problem")
LONG_VECTOR_BYTES = 64  # of which some processors compute halves as fast
SHORT_COST = 0.75  # of such a half, to a whole vector: half as much there, elsewhere as much
LOAD_SHARE = 0.1  # of the cost of loads that is not hidden behind the products
PARALLEL_WORK_S = 20e-6  # a parallel loop costs about 2 us, ten times less


@dataclass(frozen=True)
class Tile:
    """The sums in registers: `rows` by `vectors`, each vector `lanes` columns wide."""

    rows: int
    vectors: int
    lanes: int

    @property
    def columns(self) -> int:
        return self.vectors * self.lanes

    def blocks(self, columns: int) -> int:
        """The vectors of so many columns, in whole tiles."""
        return ceil(columns / self.columns) * self.vectors

    def computed(self, rows: int, columns: int) -> int:
        """The sums of so many rows and columns, in whole tiles."""
        return padded_rows(rows, self) * self.blocks(columns) * self.lanes


def lanes_of(target: Target) -> int:
    """Float32 numbers in one vector."""
    return target.vector_bytes // FLOAT_BYTES


@dataclass(frozen=True)
class Loops:
    """What is decided about a kernel of tiles: all that its schedule needs to know."""

    rows: int  # of a tile
    vectors: int
    lanes: int
    columns_stay: bool  # a panel of columns stays in cache while all rows pass by, or the reverse
    unroll: int  # steps of the reduction that follow each other without a loop
    chunks: str  # the loops that threads share

    @property
    def tile(self) -> Tile:
        return Tile(self.rows, self.vectors, self.lanes)


def lane_choices(target: Target) -> list[int]:
    """The lengths of vectors: whole ones, and halves where they are long."""
    lanes = lanes_of(target)
    return [lanes, lanes // 2] if target.vector_bytes == LONG_VECTOR_BYTES else [lanes]


def choose_tile(rows: int, columns: int, target: Target, *, whole: bool = False) -> Tile:
    """The fastest tile for a (rows, columns) output."""
    return tiles_f32(rows, columns, lanes_of(target), target, whole=whole)[0]


def tiles_f32(
    rows: int, columns: int, lanes: int, target: Target, *, whole: bool = False
) -> list[Tile]:
    """The tiles for a (rows, columns) output, by the time for one reduction step of it.

    Time counts issue slots: multiply-adds and loads at two per cycle each, at least the latency
    of one chain, with the rows and vectors beyond the output computed in vain. Among the fastest
    tiles, the one with the cheapest loads comes first. With `whole`, no tile reaches beyond the
    vectors that hold the columns.
    """
    blocks = ceil(columns / lanes)
    candidates = [
        Tile(height, width, lanes)
        for width in range(1, min(blocks, target.vector_registers // 2) + 1)
        for height in range(1, min(rows, target.vector_registers) + 1)
        if height * width + width + 1 <= target.vector_registers and not (whole and blocks % width)
    ]
    return sorted(candidates, key=lambda tile: _slots(tile, rows, columns))


def _slots(tile: Tile, rows: int, columns: int) -> tuple[int, int]:
    """Issue slots, and the cost of loads, of one reduction step of all outputs."""
    work = max(tile.rows * tile.vectors, tile.rows + tile.vectors, FMAS_PER_CYCLE * FMA_LATENCY)
    tiles = ceil(rows / tile.rows) * ceil(ceil(columns / tile.lanes) / tile.vectors)
    return tiles * work, tiles * (tile.rows + VECTOR_LOAD * tile.vectors)


def space_f32(
    tiles: Sequence[Sequence[Tile]],
    sizes: Sequence[tuple[int, int]],
    depths: Sequence[int],
    parallel: bool,
) -> Space:
    """What may be decided: the tile, the order of the loops, how the sums run, threads.

    tiles: those of each length of vectors, the fastest first; sizes: the rows and columns that they
    cover. depths: of the innermost loop of the reduction. None of it changes the order in which one
    sum is added up.
    """
    chosen = [tile for each in tiles for tile in each[:MOST_TILES]]
    costs = []
    for each, (rows, columns) in zip(tiles, sizes, strict=True):
        for tile in each[:MOST_TILES]:
            work, loads = _slots(tile, rows, columns)
            short = 1.0 if tile.lanes == tiles[0][0].lanes else SHORT_COST
            costs.append(short * (work + LOAD_SHARE * loads))
    depth = gcd(*depths)
    unroll = divisors(depth, MOST_UNROLLED)
    if 1 < depth < MOST_UNROLLED:
        unroll = sorted({*unroll, depth})
    return Space(
        (
            Decision(
                "tile", tuple((t.rows, t.vectors, t.lanes) for t in chosen), costs=tuple(costs)
            ),
            Decision("order", first("weights", ORDERS)),
            Decision("unroll", tuple(unroll)),
            chunks("tiles" if parallel else "none"),
        )
    )


def loops_f32(space: Space, decisions: Decisions) -> Loops:
    """These decisions, the others by default. Raises UnknownDecision."""
    chosen = space.chosen(decisions)
    rows, vectors, lanes = frozen(chosen["tile"])
    return Loops(
        rows=rows,
        vectors=vectors,
        lanes=lanes,
        columns_stay=chosen["order"] == "weights",
        unroll=cast(int, chosen["unroll"]),
        chunks=str(chosen["chunks"]),
    )


def plan_parts(text: str, problem: Callable[..., Problem]) -> tuple[Problem, Loops]:
    """The fields `problem` and `loops` of a plan, from the text of `to_json`."""
    fields = json.loads(text)
    told = {name: frozen(value) for name, value in fields["problem"].items()}
    return problem(**told), Loops(**fields["loops"])


def pack_columns(weights: NDArray[np.float32], tile: Tile) -> NDArray[np.float32]:
    """weights (..., columns, depth) as (..., blocks, depth, lanes), zero padded to whole tiles."""
    *outer, columns, depth = weights.shape
    blocks = tile.blocks(columns)
    padded = np.zeros((*outer, blocks * tile.lanes, depth), "float32")
    padded[..., :columns, :] = weights
    return np.ascontiguousarray(padded.reshape(*outer, blocks, tile.lanes, depth).swapaxes(-1, -2))


def padded_rows(rows: int, tile: Tile) -> int:
    """`rows` rounded up to whole tiles."""
    return ceil(rows / tile.rows) * tile.rows


def clamped(row: tirx.Expr, rows: int, tile: Tile) -> tirx.Expr:
    """`row`, or the last row in place of one beyond it: what is computed there is dropped."""
    return row if rows % tile.rows == 0 else tirx.min(row, rows - 1)


def keep_tile_in_registers(
    sch: s_tir.Schedule, accumulator: SBlockRV, products: int, axes: int, decided: Loops
) -> None:
    """Schedule a block of sums; its spatial axes are products..., images..., row, column.

    `products` axes number independent products, `axes` are there in all. A tile of sums stays in
    registers while the reduction streams past; the fused epilogue reads it there. Column tiles
    are outside images and rows, where `columns_stay`: one panel of the packed operand serves all of
    them while the cache holds it.
    """
    sch.set_scope(accumulator, 0, "local")
    output = inline_epilogue(sch, accumulator)
    loops = sch.get_loops(accumulator)
    own, images = loops[:products], loops[products : axes - 2]
    (rows, columns), (*reduction, last) = loops[axes - 2 : axes], loops[axes:]
    row_tiles, row = sch.split(rows, [None, decided.rows])
    column_tiles, vector, lane = sch.split(columns, [None, decided.vectors, decided.lanes])
    last, group = sch.split(last, [None, decided.unroll])
    reduction.append(last)
    outer = [column_tiles, *images, row_tiles]
    if not decided.columns_stay:
        outer = [*outer[1:], column_tiles]
    outer = [*own, *outer]
    sch.reorder(*outer, *reduction, group, row, vector, lane)
    sch.reverse_compute_at(output, outer[-1], preserve_unit_loops=True)
    if decided.chunks != "none":
        sch.parallel(sch.fuse(*(outer[:-1] if decided.chunks == "outer" else outer)))
    output_row, output_columns = sch.get_loops(output)[-2:]
    output_vector, output_lane = sch.split(output_columns, [None, decided.lanes])
    sch.vectorize(output_lane)
    sch.vectorize(lane)
    for loop in (output_row, output_vector, group, row, vector):
        sch.unroll(loop)
    sch.decompose_reduction(accumulator, reduction[0])


def worth_parallel(macs: int, target: Target) -> bool:
    """Whether so many products take one core longer than a parallel loop is worth."""
    peak = FMAS_PER_CYCLE * lanes_of(target) * target.clock_hz
    return target.cores > 1 and macs / peak > PARALLEL_WORK_S
