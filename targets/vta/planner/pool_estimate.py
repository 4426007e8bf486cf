"""About how many cycles a tiling of a pooling takes."""

from __future__ import annotations

from qcompile.errors import BufferTooSmall
from qcompile.targets.vta.config import Buffer, Config
from qcompile.targets.vta.costs import costs_of
from qcompile.targets.vta.planner.pool_plan import PoolPlan
from qcompile.targets.vta.planner.problem import PoolProblem
from qcompile.targets.vta.planner.tiles import Tiling, window


class PoolEstimate:
    """Cycles of tilings of a pooling: of loads, copies and comparisons, whichever are most."""

    def __init__(self, problem: PoolProblem, config: Config, port_bytes: int) -> None:
        self.problem, self.config, self.port_bytes = problem, config, port_bytes

    def fits(self, tiling: Tiling) -> bool:
        """Planning tells, at little cost."""
        try:
            PoolPlan(self.problem, self.config, tiling)
        except BufferTooSmall:
            return False
        return True

    def cycles(self, tiling: Tiling) -> float:
        images, height, width, channels = self.problem.output
        costs = costs_of(self.port_bytes)
        blocks = -(-channels // self.config.block_out) * -(-images // self.config.batch)
        (kh, kw), (sh, _) = self.problem.kernel, self.problem.strides
        seen = window(self.problem, (0, tiling.rows), (0, tiling.columns))
        tall = tiling.rows + (kh - 1) // sh
        count = -(-height // tiling.rows) * -(-width // tiling.columns)
        beats = self.config.element_bytes(Buffer.INP) / self.port_bytes
        compute = 2 * seen.elements + 2 * tiling.columns * (tall * (kw - 1) * sh + (kh - 1))
        store = tiling.rows * (tiling.columns * (beats + costs.store_element) + costs.store_burst)
        load = seen.elements * beats + costs.load
        instructions = costs.alu * 4 * (kh + kw) / tiling.outputs
        parts = (compute + instructions, load, store)
        return blocks * count * (max(parts) if tiling.threads > 1 else sum(parts))
