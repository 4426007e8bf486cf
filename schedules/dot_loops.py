"""The loops of a tile of sums around its dot products.

    for row, vector, lane, k:                       for k, row, vector:
        sums[row, vector, lane] += ...      ->          dot(sums[row, vector], a[row, k], b[k])

or, with partial sums,

    for k, row, vector, lane:
        dot(parts[row, vector, lane], a[row, k], b[k, lane])
    for row, vector:
        sums[row, vector] = sums of parts

or, with two rows at once, as blocks of 2 x 2 sums

    for k, two rows, vector:
        dot(blocks[two rows, vector], a[two rows, k], b[k])
    for two rows, vector:
        sums[two rows, vector] = the blocks as rows
"""

from collections.abc import Sequence
from typing import Protocol

from tvm import s_tir, tirx
from tvm.s_tir.schedule import LoopRV, SBlockRV

from qcompile.schedules.intrinsics import register_intrinsics
from qcompile.schedules.intrinsics_i8mm import ROWS, USMMLA, register_part_rows, register_usmmla
from qcompile.schedules.intrinsics_neon import register_add_parts
from qcompile.targets import Target


class DotPlan(Protocol):
    """What a plan decides on the dot product."""

    @property
    def dot(self) -> str: ...
    @property
    def lanes(self) -> int: ...
    @property
    def depth(self) -> int: ...
    @property
    def together(self) -> int: ...
    @property
    def parts(self) -> int: ...


class DotLoops:
    """The last loop of `sums`, over bytes, split for the dot product.

    `block` is the one that multiplies, with the loops of `sums`. `steps` is the loop over what one
    dot product takes; steps_apart: `sums` has it already, and its last loop is one step.
    """

    def __init__(
        self, sch: s_tir.Schedule, sums: SBlockRV, plan: DotPlan, *, steps_apart: bool = False
    ) -> None:
        self.sch = sch
        self.plan = plan
        self.block, self.sums = sums, sums
        self.pairs = plan.dot == USMMLA.name
        if self.pairs:
            self.sums = sch.cache_write(sums, 0, "local")
            sch.transform_layout(sums, ("write", 0), in_pairs)
        *_, steps, k = sch.get_loops(sums)
        outer = [] if steps_apart else [None]
        if plan.parts == 1:
            self.bytes = list(sch.split(k, [*outer, plan.together, plan.depth]))
            self.steps = steps if steps_apart else self.bytes.pop(0)
            return
        part = sch.split(k, [*outer, plan.depth // (2 * plan.parts), plan.parts, 2])[-2]
        self.block = sch.rfactor(part, len(sch.get(sums).writes[0].region))
        sch.set_scope(self.block, 0, "local")
        self.steps, *self.bytes = sch.get_loops(self.block)[-4:]

    def order(self, tile: Sequence[LoopRV], lane: LoopRV) -> list[LoopRV]:
        """The loops of a tile, from rows to vectors, and those inside a vector, in order."""
        *rows, row, vector = tile
        if self.pairs:
            row, pair = self.sch.split(row, [None, ROWS])
        self.tile, self.lane = [*rows, row, vector], lane
        if self.plan.parts > 1:
            self.inside = [lane, *self.bytes]
        else:
            step, byte = self.bytes
            self.inside = [step, *([pair] if self.pairs else []), lane, byte]
        return [*self.tile, *self.inside]

    def finish_at(self, loop: LoopRV) -> None:
        """Bring the sums into their order in each iteration of the loop around the tile."""
        if self.sums != self.block:
            self.sch.reverse_compute_at(self.sums, loop, preserve_unit_loops=True)

    def tensorize(
        self,
        first: LoopRV,
        target: Target,
        *,
        cut: bool = False,
        apart: int = 1,
        flat: bool = False,
    ) -> None:
        """Make the block dot products.

        The sums begin with zero outside of the loop `first`. cut: a condition on the row cuts the
        last tile. Neighbouring rows are `apart` in the data; flat: in the axis of the bytes.
        """
        sch, plan = self.sch, self.plan
        register_intrinsics(target)
        self._begin(sch.decompose_reduction(self.block, first), len(self.tile) + (plan.parts > 1))
        if cut:
            sch.blockize(self.tile[-1])  # takes the condition, which tensorize does not accept
        if self.pairs:
            sch.tensorize(
                self.inside[plan.together == 1], register_usmmla(plan.together, apart, flat)
            )
        else:
            whole = plan.parts == 1 and plan.together > 1
            sch.tensorize(self.inside[not whole], f"{plan.dot}_{plan.together}")
        for loop in self.tile:
            sch.unroll(loop)
        if plan.parts > 1:
            sch.unroll(self.lane)
            self._add_parts(target, cut)
        if self.pairs:
            self._part_rows()

    def _begin(self, init: SBlockRV, unrolled: int) -> None:
        sch = self.sch
        if self.pairs:
            *tile, pair, lane = sch.get_loops(init)[-unrolled - 2 :]
            half, lane = sch.split(lane, [None, 2])
            sch.reorder(half, pair, lane)
            sch.unroll(half)
            lanes = sch.fuse(pair, lane)
        else:
            *tile, lanes = sch.get_loops(init)[-unrolled - 1 :]
        sch.vectorize(lanes)
        for loop in tile:
            sch.unroll(loop)

    def _add_parts(self, target: Target, cut: bool) -> None:
        sch = self.sch
        part, *rows, outputs = sch.get_loops(self.sums)[-len(sch.get(self.sums).iter_vars) :]
        vector, lane = sch.split(outputs, [None, self.plan.lanes])
        sch.reorder(*rows, vector, lane, part)
        self._begin(sch.decompose_reduction(self.sums, rows[0]), len(rows) + 1)
        if cut:
            sch.blockize(vector)
        sch.tensorize(lane, register_add_parts(target))
        for loop in (*rows, vector):
            sch.unroll(loop)

    def _part_rows(self) -> None:
        sch = self.sch
        *others, row, outputs = sch.get_loops(self.sums)[-len(sch.get(self.sums).iter_vars) :]
        rows, row = sch.split(row, [None, ROWS])
        vector, lane = sch.split(outputs, [None, self.plan.lanes])
        sch.reorder(*others, rows, vector, row, lane)
        sch.tensorize(row, register_part_rows())
        for loop in (*others, rows, vector):
            sch.unroll(loop)


def in_pairs(*place: tirx.Var) -> list[tirx.Expr]:
    """(..., row, lane) -> (..., row / 2, lane / 2, row % 2, lane % 2)."""
    *others, row, lane = place
    return [*others, row // ROWS, lane // 2, row % ROWS, lane % 2]
