"""The two loops of a GEMM over the positions of a tile."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qcompile.targets.vta.builder import UopBlock
from qcompile.targets.vta.planner.steps import LEAST_ROUND, Step

Pair = tuple[int, int]


@dataclass(frozen=True)
class Loops:
    """dst, src: elements between rows and between columns."""

    rows: int
    columns: int
    dst: Pair
    src: Pair

    @property
    def extents(self) -> Pair:
        return self.rows, self.columns

    @property
    def dst_factors(self) -> Pair:
        return self._used(self.dst)

    @property
    def src_factors(self) -> Pair:
        return self._used(self.src)

    def _used(self, factors: Pair) -> Pair:
        """A loop of one iteration has no factor: it might not fit its field."""
        return factors[0] * (self.rows > 1), factors[1] * (self.columns > 1)

    def taken_together(self, step: Step, most: int) -> Together | None:
        """Neighbouring positions in the micro-ops, where rounds are too short for one instruction.

        So many that each round touches enough different sums; None where that is not needed, the
        positions do not divide, or micro-ops are more than `most`.
        """
        if len(step.instructions) == 1:
            return None
        needed = -(-LEAST_ROUND // step.least_round)
        for count in range(needed, LEAST_ROUND + 2):
            if len(step.blocks) * count > most:
                return None
            if self.columns % count == 0:
                loops = Loops(self.rows, self.columns // count, *self._inner(count))
                return Together(loops, count, (self.dst[1], self.src[1]))
            if self.rows % count == 0:
                loops = Loops(self.rows // count, self.columns, *self._outer(count))
                return Together(loops, count, (self.dst[0], self.src[0]))
        return None

    def _inner(self, count: int) -> tuple[Pair, Pair]:
        return (self.dst[0], self.dst[1] * count), (self.src[0], self.src[1] * count)

    def _outer(self, count: int) -> tuple[Pair, Pair]:
        return (self.dst[0] * count, self.dst[1]), (self.src[0] * count, self.src[1])


@dataclass(frozen=True)
class Together:
    """So many neighbouring positions in the micro-ops, the others in loops. steps: of dst, src."""

    loops: Loops
    count: int
    steps: Pair

    def micro_ops(self, uops: UopBlock, step: Step) -> UopBlock:
        """The micro-ops of all positions, round by round. uops: of the first position."""
        rows, position = step.repeated(self.count)
        moved = np.array([[*self.steps, 0]]) * position[:, None]
        found: UopBlock = uops[rows] + moved
        return found
