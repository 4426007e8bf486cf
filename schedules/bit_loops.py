"""The loops of a tile of sums of popcounts, in the order in which they stay in registers."""

from collections.abc import Sequence
from typing import Protocol

from tvm import s_tir, tirx
from tvm.s_tir.schedule import LoopRV, SBlockRV

from qcompile.schedules.bit_product import Planes
from qcompile.schedules.bit_tree import tree_of
from qcompile.schedules.popcount import Popcount


class BitPlan(Protocol):
    """What a plan decides on counting bits."""

    @property
    def popcount(self) -> Popcount: ...
    @property
    def planes(self) -> Planes: ...
    @property
    def unroll(self) -> int: ...


def byte_counts_of(sch: s_tir.Schedule, sums: SBlockRV) -> list[SBlockRV]:
    """The block that counts in bytes, if the sums have one."""
    return [block for block in sch.get_producers(sums) if sch.get(block).name_hint == "bytes"]


def split_words(
    sch: s_tir.Schedule, k: LoopRV, plan: BitPlan, split: int = 1
) -> tuple[LoopRV, list[LoopRV], list[LoopRV]]:
    """The last loop of sums as (parts, [steps, those without a loop], [words of a vector]).

    Chunks of counts in bytes have no steps; words are there if a vector has several.
    """
    if plan.popcount.in_bytes:
        parts, steps = sch.split(k, [split, None])
        return parts, [steps], []
    if not plan.popcount.as_tree:
        parts, *steps = sch.split(k, [split, None, plan.unroll])
        return parts, steps, []
    parts, *steps, word = sch.split(k, [split, None, plan.unroll, plan.popcount.step])
    return parts, steps, [word]


def in_registers(
    popcount: Popcount, rows: Sequence[LoopRV], vectors: LoopRV, lane: LoopRV, word: list[LoopRV]
) -> tuple[LoopRV, ...]:
    """The loops of a tile in order; rows: (*rows, plane of data, plane of weights)."""
    *row, data, weights = rows
    if popcount.as_tree:  # eight vectors of weights are loaded once, for all rows
        return vectors, weights, *row, data, lane, *word
    return *row, data, vectors, weights, lane


def add_in_trees(
    sch: s_tir.Schedule, sums: SBlockRV, plan: BitPlan, first: LoopRV, tile_loops: int
) -> None:
    """Make the innermost `tile_loops` of the sums, a tile, additions in trees.

    The tile starts before the loop `first`.
    """
    sch.set_scope(sums, 0, "local")
    *tile, lane, _ = sch.get_loops(sums)[-tile_loops:]
    init = sch.decompose_reduction(sums, first)
    *outer, lanes = sch.get_loops(init)[1 - tile_loops :]
    sch.vectorize(lanes)
    for loop in (*outer, *tile):
        sch.unroll(loop)
    one, lane = sch.split(lane, [1, None])
    sch.blockize(one)  # takes the condition on the row, which tensorize does not accept
    sch.tensorize(lane, tree_of(plan.popcount.form, plan.planes.operation))


def keep_sums_in_registers(
    sch: s_tir.Schedule,
    sums: SBlockRV,
    counts: Sequence[SBlockRV],
    plan: BitPlan,
    first: LoopRV,
    tile_loops: int,
    scope: str = "local",
) -> None:
    """Unroll the innermost `tile_loops` of the sums, a tile, and start it before the loop `first`.

    Counts in bytes get loops like it, inside of the loops over chunks.
    """
    for block in counts:
        sch.set_scope(block, 0, "local")
        sch.compute_at(block, sch.get_loops(sums)[-tile_loops - 1], preserve_unit_loops=True)
        words = _reductions(sch, block)
        loops = sch.get_loops(block)
        tile, position = loops[-2 * words - tile_loops + 2 : -2 * words], loops[-2 * words :]
        *rows, columns, vectors, lane = tile
        column, data, weights = sch.split(columns, [None, *plan.planes.extents])
        position[-1:] = sch.split(position[-1], [None, plan.unroll])
        sch.reorder(*position, *rows, column, data, vectors, weights, lane)
        _unroll(sch, block, position[words], tile_loops)
        sch.unroll(position[-1])
    sch.set_scope(sums, 0, scope)
    _unroll(sch, sums, first, tile_loops)


def _reductions(sch: s_tir.Schedule, block: SBlockRV) -> int:
    kinds = [axis.iter_type for axis in sch.get(block).iter_vars]
    return kinds.count(tirx.IterVar.CommReduce)


def _unroll(sch: s_tir.Schedule, block: SBlockRV, first: LoopRV, tile_loops: int) -> None:
    *tile, lane = sch.get_loops(block)[-tile_loops:]
    sch.vectorize(lane)
    for loop in tile:
        sch.unroll(loop)
    init = sch.decompose_reduction(block, first)
    for loop in sch.get_loops(init)[-tile_loops:-1]:
        sch.unroll(loop)
