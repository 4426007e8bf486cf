"""The loops of a tile of sums of popcounts, in the order in which they stay in registers."""

from collections.abc import Sequence

from tvm import s_tir, tirx
from tvm.s_tir.schedule import LoopRV, SBlockRV

from qcompile.schedules.bit_product import Planes
from qcompile.schedules.bit_tree import tree_of
from qcompile.schedules.popcount import Popcount


def byte_counts_of(sch: s_tir.Schedule, sums: SBlockRV) -> list[SBlockRV]:
    """The block that counts in bytes, if the sums have one."""
    return [block for block in sch.get_producers(sums) if sch.get(block).name_hint == "bytes"]


def split_step(sch: s_tir.Schedule, k: LoopRV, popcount: Popcount) -> tuple[LoopRV, list[LoopRV]]:
    """The loop over words, and the one over the words of a vector if it has several."""
    if not popcount.as_tree:
        return k, []
    steps, word = sch.split(k, [None, popcount.step])
    return steps, [word]


def in_registers(
    popcount: Popcount, rows: Sequence[LoopRV], vectors: LoopRV, lane: LoopRV, word: list[LoopRV]
) -> tuple[LoopRV, ...]:
    """The loops of a tile in order; rows: (*rows, plane of data, plane of weights)."""
    *row, data, weights = rows
    if popcount.as_tree:  # eight vectors of weights are loaded once, for all rows
        return vectors, weights, *row, data, lane, *word
    return *row, data, vectors, weights, lane


def add_in_trees(
    sch: s_tir.Schedule,
    sums: SBlockRV,
    popcount: Popcount,
    planes: Planes,
    tile_loops: int,
) -> None:
    """Make the innermost `tile_loops` of the sums, a tile, additions in trees."""
    sch.set_scope(sums, 0, "local")
    loops = sch.get_loops(sums)
    *tile, lane, _ = loops[-tile_loops:]
    words = _reductions(sch, sums)
    init = sch.decompose_reduction(sums, loops[-tile_loops - words])
    *outer, lanes = sch.get_loops(init)[1 - tile_loops :]
    sch.vectorize(lanes)
    for loop in (*outer, *tile):
        sch.unroll(loop)
    one, lane = sch.split(lane, [1, None])
    sch.blockize(one)  # takes the condition on the row, which tensorize does not accept
    sch.tensorize(lane, tree_of(popcount.form, planes.operation))


def keep_sums_in_registers(
    sch: s_tir.Schedule,
    sums: SBlockRV,
    counts: Sequence[SBlockRV],
    planes: Planes,
    tile_loops: int,
    scope: str = "local",
) -> None:
    """Unroll the innermost `tile_loops` of the sums, a tile, and start it before the reduction.

    Counts in bytes get loops like it, inside of the loops over chunks.
    """
    words = _reductions(sch, sums)
    for block in counts:
        sch.set_scope(block, 0, "local")
        sch.compute_at(block, sch.get_loops(sums)[-tile_loops - 1], preserve_unit_loops=True)
        loops = sch.get_loops(block)
        tile, position = loops[-2 * words - tile_loops + 2 : -2 * words], loops[-2 * words :]
        *rows, columns, vectors, lane = tile
        column, data, weights = sch.split(columns, [None, *planes.extents])
        sch.reorder(*position, *rows, column, data, vectors, weights, lane)
        _unroll(sch, block, tile_loops)
    sch.set_scope(sums, 0, scope)
    _unroll(sch, sums, tile_loops)


def _reductions(sch: s_tir.Schedule, block: SBlockRV) -> int:
    kinds = [axis.iter_type for axis in sch.get(block).iter_vars]
    return kinds.count(tirx.IterVar.CommReduce)


def _unroll(sch: s_tir.Schedule, block: SBlockRV, tile_loops: int) -> None:
    loops = sch.get_loops(block)
    first = loops[-tile_loops - _reductions(sch, block)]
    *tile, lane = loops[-tile_loops:]
    sch.vectorize(lane)
    for loop in tile:
        sch.unroll(loop)
    init = sch.decompose_reduction(block, first)
    for loop in sch.get_loops(init)[-tile_loops:-1]:
        sch.unroll(loop)
