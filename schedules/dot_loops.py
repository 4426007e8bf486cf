"""The loops of a tile of sums around its dot products.

    for row, vector, lane, k:                       for k, row, vector:
        sums[row, vector, lane] += ...      ->          dot(sums[row, vector], a[row, k], b[k])

or, with partial sums,

    for k, row, vector, lane:
        dot(parts[row, vector, lane], a[row, k], b[k, lane])
    for row, vector:
        sums[row, vector] = sums of parts
"""

from collections.abc import Sequence
from typing import Protocol

from tvm import s_tir
from tvm.s_tir.schedule import LoopRV, SBlockRV

from qcompile.schedules.intrinsics import register_intrinsics
from qcompile.schedules.intrinsics_arm import register_add_parts
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
    dot product takes.
    """

    def __init__(self, sch: s_tir.Schedule, sums: SBlockRV, plan: DotPlan) -> None:
        self.sch = sch
        self.plan = plan
        self.block, self.sums = sums, sums
        k = sch.get_loops(sums)[-1]
        if plan.parts == 1:
            self.steps, *self.bytes = sch.split(k, [None, plan.together, plan.depth])
            return
        part = sch.split(k, [None, plan.depth // (2 * plan.parts), plan.parts, 2])[2]
        self.block = sch.rfactor(part, len(sch.get(sums).writes[0].region))
        sch.set_scope(self.block, 0, "local")
        self.steps, *self.bytes = sch.get_loops(self.block)[-4:]

    def inside(self, lane: LoopRV) -> tuple[LoopRV, ...]:
        """The loops inside a vector of sums, in order."""
        if self.plan.parts > 1:
            return lane, *self.bytes
        step, byte = self.bytes
        return step, lane, byte

    def add_parts_at(self, loop: LoopRV) -> None:
        """Add partial sums up in each iteration of the loop around the tile."""
        if self.plan.parts > 1:
            self.sch.reverse_compute_at(self.sums, loop, preserve_unit_loops=True)

    def tensorize(
        self,
        first: LoopRV,
        tile: Sequence[LoopRV],
        lane: LoopRV,
        target: Target,
        *,
        cut: bool = False,
    ) -> None:
        """Make the block dot products.

        The sums begin with zero outside of the loop `first`; the loops of the `tile` lead from rows
        to vectors. cut: a condition on the row cuts the last tile.
        """
        sch, plan = self.sch, self.plan
        register_intrinsics(target)
        self._begin(sch.decompose_reduction(self.block, first), len(tile) + (plan.parts > 1))
        if cut:
            sch.blockize(tile[-1])  # takes the condition, which tensorize does not accept
        loops = self.inside(lane)[0 if plan.parts == 1 and plan.together > 1 else 1 :]
        sch.tensorize(loops[0], f"{plan.dot}_{plan.together}")
        for loop in tile:
            sch.unroll(loop)
        if plan.parts > 1:
            sch.unroll(lane)
            self._add_parts(target, cut)

    def _begin(self, init: SBlockRV, unrolled: int) -> None:
        *tile, lanes = self.sch.get_loops(init)[-unrolled - 1 :]
        self.sch.vectorize(lanes)
        for loop in tile:
            self.sch.unroll(loop)

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
