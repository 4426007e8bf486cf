"""A tile of float32 sums kept in registers: its size, its packed operand, its loops.

The kernels dense_f32, conv2d_f32 and batch_matmul_f32 share it. A tile is `rows` output rows (or
pixels) by `vectors` vectors of output columns. Each step of the reduction loads `vectors` vectors
of the packed operand, and every one of the `rows` numbers of the other operand once, broadcast.
"""

from dataclasses import dataclass
from math import ceil, prod

import numpy as np
from numpy.typing import NDArray
from tvm import s_tir, tirx
from tvm.s_tir.schedule import SBlockRV

from qcompile.schedules.epilogue import inline_epilogue
from qcompile.targets import Target

FLOAT_BYTES = 4
FMAS_PER_CYCLE = 2  # of one core of every processor in targets/ that has FMA
FMA_LATENCY = 4  # cycles, Zen 2 to 5 and Intel since Skylake: fewer chains than this times 2 stall
VECTOR_LOAD = 2  # cost of a vector, from the second-level cache, to a number from the first
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


def lanes_of(target: Target) -> int:
    """Float32 numbers in one vector."""
    return target.vector_bytes // FLOAT_BYTES


def choose_tile(rows: int, columns: int, target: Target, *, whole: bool = False) -> Tile:
    """The tile with the least time for one reduction step of a (rows, columns) output.

    Time counts issue slots: multiply-adds and loads at two per cycle each, at least the latency
    of one chain, with the rows and vectors beyond the output computed in vain. Among the fastest
    tiles, the one with the cheapest loads wins. With `whole`, no tile reaches beyond the vectors
    that hold the columns.
    """
    lanes = lanes_of(target)
    blocks = ceil(columns / lanes)

    def cost(tile: Tile) -> tuple[int, int]:
        work = max(
            tile.rows * tile.vectors,
            tile.rows + tile.vectors,
            FMAS_PER_CYCLE * FMA_LATENCY,
        )
        tiles = ceil(rows / tile.rows) * ceil(blocks / tile.vectors)
        return tiles * work, tiles * (tile.rows + VECTOR_LOAD * tile.vectors)

    candidates = [
        Tile(height, width, lanes)
        for width in range(1, min(blocks, target.vector_registers // 2) + 1)
        for height in range(1, min(rows, target.vector_registers) + 1)
        if height * width + width + 1 <= target.vector_registers and not (whole and blocks % width)
    ]
    return min(candidates, key=cost)


def pack_columns(weights: NDArray[np.float32], tile: Tile) -> NDArray[np.float32]:
    """weights (..., columns, depth) as (..., blocks, depth, lanes), zero padded to whole tiles."""
    *outer, columns, depth = weights.shape
    blocks = ceil(columns / tile.columns) * tile.vectors
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
    sch: s_tir.Schedule, accumulator: SBlockRV, products: int, axes: int, target: Target
) -> None:
    """Schedule a block of sums; its spatial axes are products..., images..., row, column.

    `products` axes number independent products, `axes` are there in all. A tile of sums stays in
    registers while the reduction streams past; the fused epilogue reads it there. Column tiles
    are outside images and rows: one panel of the packed operand serves all of them while the
    cache holds it.
    """
    tile = Tile(*(int(size) for size in sch.get(accumulator).annotations["qcompile.tile"]))
    sch.set_scope(accumulator, 0, "local")
    output = inline_epilogue(sch, accumulator)
    loops = sch.get_loops(accumulator)
    own, images = loops[:products], loops[products : axes - 2]
    rows, columns = loops[axes - 2 : axes]
    row_tiles, row = sch.split(rows, [None, tile.rows])
    column_tiles, vector, lane = sch.split(columns, [None, tile.vectors, tile.lanes])
    outer = (*own, column_tiles, *images, row_tiles)
    sch.reorder(*outer, *loops[axes:], row, vector, lane)
    sch.reverse_compute_at(output, row_tiles, preserve_unit_loops=True)
    if worth_parallel(sch, accumulator, target):
        sch.parallel(sch.fuse(*outer))
    output_row, output_columns = sch.get_loops(output)[-2:]
    output_vector, output_lane = sch.split(output_columns, [None, tile.lanes])
    sch.vectorize(output_lane)
    sch.vectorize(lane)
    for loop in (output_row, output_vector, row, vector):
        sch.unroll(loop)
    sch.decompose_reduction(accumulator, sch.get_loops(accumulator)[-3 - len(loops[axes:])])


def worth_parallel(sch: s_tir.Schedule, accumulator: SBlockRV, target: Target) -> bool:
    """Whether the sums take one core longer than a parallel loop is worth."""
    macs = prod(int(axis.dom.extent) for axis in sch.get(accumulator).iter_vars)
    peak = FMAS_PER_CYCLE * lanes_of(target) * target.clock_hz
    return target.cores > 1 and macs / peak > PARALLEL_WORK_S
