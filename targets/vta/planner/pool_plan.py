"""A max pooling with its tiling, and how a tile lies in ACC.

A block of a tile lies in ACC by phases: the element of the window's row r and column c is in the
phase (r mod s_h, c mod s_w), there in row r div s_h and column c div s_w. So the tap (u, v) of all
outputs is one dense rectangle, and the output (i, j) grows in place in the first phase: first
along rows, then along columns. A tap in the first phase itself reads what is not overwritten yet,
as outputs are taken in rising order; it therefore comes before taps of other phases, and one tap
after the other by the same distance.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from qcompile.targets.vta.config import Buffer, Config
from qcompile.targets.vta.planner.digits import wrapping_digits
from qcompile.targets.vta.planner.problem import PoolProblem
from qcompile.targets.vta.planner.tiles import (
    Tile,
    Tiling,
    tiles,
    too_small,
    window,
)


@dataclass(frozen=True)
class Phases:
    """How one block of a tile lies in ACC: counts (rows, columns) of phases, and their size."""

    counts: tuple[int, int]
    rows: int
    columns: int

    @property
    def elements(self) -> int:
        return self.counts[0] * self.counts[1] * self.rows * self.columns

    def place(self, u: int, v: int, strides: tuple[int, int]) -> int:
        """Where the tap (u, v) of the first output is."""
        phase = u % strides[0] * self.counts[1] + v % strides[1]
        return (phase * self.rows + u // strides[0]) * self.columns + v // strides[1]


class PoolPlan:
    """A problem and its tiling; a tile has as many input as output blocks."""

    def __init__(self, problem: PoolProblem, config: Config, tiling: Tiling) -> None:
        self.problem, self.config, self.tiling = problem, config, tiling
        images, self.height, self.width, channels = problem.output
        self.images, self.blocks = -(-images // config.batch), -(-channels // config.block_out)
        ones = len(wrapping_digits(np.array([1]), config.wgt_width, config.acc_width))
        # (exponent, plane), the highest exponent first.
        self.passes = sorted(
            (
                (plane * config.inp_width + digit * config.wgt_width, plane)
                for plane in range(problem.planes)
                for digit in range(ones)
            ),
            reverse=True,
        )
        whole = self.phases(tiling.rows, tiling.columns).elements
        self.acc_elements = tiling.outputs * whole
        seen = window(problem, (0, tiling.rows), (0, tiling.columns))
        self.inp_elements = tiling.outputs * seen.elements
        needed = {Buffer.ACC: self.acc_elements, Buffer.INP: self.inp_elements}
        for buffer, elements in needed.items():
            if tiling.threads * elements > config.depth(buffer):
                raise too_small(config, buffer, tiling.threads * elements)

    def phases(self, rows: int, columns: int) -> Phases:
        """Of a tile of so many outputs."""
        (kh, kw), (sh, sw) = self.problem.kernel, self.problem.strides
        return Phases((min(sh, kh), min(sw, kw)), rows + (kh - 1) // sh, columns + (kw - 1) // sw)

    @cached_property
    def tiles(self) -> list[Tile]:
        return [*tiles(self.images, self.height, self.width, self.blocks, self.tiling)]
