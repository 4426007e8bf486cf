"""About how many cycles a tiling takes: enough to tell which ones are worth simulating.

What depends on the place and what depends on the channels of a tile is worked out once for each.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from qcompile.targets.vta.config import Buffer, Config
from qcompile.targets.vta.costs import costs_of
from qcompile.targets.vta.planner.problem import Operand, Pattern, SumsProblem, pattern_from
from qcompile.targets.vta.planner.steps import LEAST_ROUND
from qcompile.targets.vta.planner.tiles import (
    Tiling,
    ranges,
    term_blocks,
    term_elements,
    window,
)

IN_PIECES = 4  # instructions around the multiplications of a tile: begin, shift, two limits


@dataclass(frozen=True)
class Area:
    """Tiles of so many rows and columns. elements: INP elements of a block, by operand."""

    positions: int
    places: int
    elements: tuple[int, ...]
    store_rows: int  # of one block of a tile


@dataclass(frozen=True)
class Channels:
    """Tiles of so many output blocks and steps of so many input blocks; at the most of all tiles.

    inputs: blocks of channels that a tile reads, by operand, all planes.
    weights: blocks that are loaded, of a tile and of a step.
    """

    chunks: int
    inputs: tuple[int, ...]
    weights: int
    step_weights: int
    steps: int
    instructions: float
    uops: int


class Estimate:
    """Cycles of tilings of a layer of sums."""

    def __init__(self, problem: SumsProblem, config: Config, port_bytes: int) -> None:
        self.problem = problem
        images, self.height, self.width, channels = problem.output
        self.images = -(-images // config.batch)
        self.blocks = -(-channels // config.block_out)
        self.costs = costs_of(port_bytes)
        self.depth = {buffer: config.depth(buffer) for buffer in Buffer}
        self.beats = {buffer: config.element_bytes(buffer) / port_bytes for buffer in Buffer}
        self.patterns = [
            pattern_from(each, channels, config.block_out) for each in problem.operands
        ]
        self.all_weights = sum(_distinct(pattern) for pattern in self.patterns)
        self.area = lru_cache(maxsize=None)(self._area)
        self.channels = lru_cache(maxsize=None)(self._channels)
        self.counts = lru_cache(maxsize=None)(self._counts)
        self.fixed = self._fixed()

    def fits(self, tiling: Tiling) -> bool:
        """Whether the buffers hold the tiles, as far as this can tell."""
        area = self.area(tiling.rows, tiling.columns)
        return (
            area.positions * tiling.outputs * tiling.threads + term_elements(self.problem, tiling)
            <= self.depth[Buffer.ACC]
            and tiling.inputs * max(area.elements) <= self.depth[Buffer.INP]
            and self.channels(tiling.outputs, tiling.inputs).step_weights <= self.depth[Buffer.WGT]
        )

    def cycles(self, tiling: Tiling) -> float:
        area = self.area(tiling.rows, tiling.columns)
        channels = self.channels(tiling.outputs, tiling.inputs)
        tiles, alu = area.places * channels.chunks, self.costs.alu
        compute = self.fixed[0] + tiles * alu * (IN_PIECES + channels.instructions)
        if self.problem.terms:
            pieces = -(-tiling.outputs // term_blocks(tiling))
            compute += tiles * alu * pieces * (2 + 2 * len(self.problem.terms))
        compute += tiling.threads * channels.uops / 2
        store = self.fixed[1]
        store += tiles * tiling.outputs * area.store_rows * self.costs.store_burst
        load = self._load(tiling, area, channels)
        hidden = max(compute, load, store) if tiling.threads > 1 else compute + load / 2
        return hidden + self._first(tiling, area, channels)

    def _fixed(self) -> tuple[float, float]:
        """Cycles of COMPUTE and of STORE that all tilings have."""
        problem = self.problem
        positions = self.images * self.height * self.width
        products = sum(
            int((pattern >= 0).sum()) * each.planes
            for pattern, each in zip(self.patterns, problem.operands, strict=True)
        )
        begin = 1 + problem.start_vector + (not problem.starts_over)
        shift = 2 * problem.shift_vector + problem.shift_parts
        shift += problem.lifted + problem.zero_added
        if problem.terms:
            # A copy, and for each term a shift and a sum of two.
            shift += 3 + sum(1 + vector + 2 for vector in problem.terms)
        planes = (problem.planes - 1) * (1 + problem.rounded)
        alu = begin + sum(problem.limits) + shift + planes
        stored = -(-self.beats[Buffer.OUT] // 1) + self.costs.store_element
        return (
            positions * (products + self.blocks * alu),
            positions * self.blocks * problem.planes * stored,
        )

    def _area(self, rows: int, columns: int) -> Area:
        seen = (
            window(each, (0, rows), (0, columns), each.dilation) for each in self.problem.operands
        )
        places = self.images * -(-self.height // rows) * -(-self.width // columns)
        return Area(
            rows * columns,
            places,
            tuple(each.elements for each in seen),
            self.problem.planes * (1 if columns == self.width else rows),
        )

    def _channels(self, outputs: int, inputs: int) -> Channels:
        read, weights, step_weights, steps, instructions, uops = [], 0, 0, 0, 0.0, 0
        for number, operand in enumerate(self.problem.operands):
            used, blocks, distinct = self.counts(number, outputs)
            read.append(used * operand.planes)
            weights += distinct
            if used:
                count = -(-used // inputs) * operand.digits * operand.planes
                share = min(inputs, used) / (used * operand.digits)
                step_weights = max(step_weights, min(distinct, int(np.ceil(blocks * share))))
                steps += count
                instructions += count * self._per_step(operand, outputs, inputs, used, blocks)
                uops += blocks * operand.planes
        chunks = -(-self.blocks // outputs)
        return Channels(chunks, tuple(read), weights, step_weights, steps, instructions, uops)

    def _counts(self, operand: int, outputs: int) -> tuple[int, int, int]:
        """Input blocks, blocks of weights and such that differ, of a tile at the most."""
        pattern = self.patterns[operand]
        parts = [pattern[:, begin:end] for begin, end in ranges(self.blocks, outputs)]
        return (
            max(int((part >= 0).any(axis=(0, 1, 2, 3)).sum()) for part in parts),
            max(int((part >= 0).sum()) for part in parts),
            max(_distinct(part) for part in parts),
        )

    def _per_step(
        self, operand: Operand, outputs: int, inputs: int, used: int, blocks: int
    ) -> float:
        """GEMM instructions: one, or one for each round where few sums take part."""
        taps = operand.digits * operand.kernel[0] * operand.kernel[1]
        together = min(outputs, self.blocks, inputs * blocks / (used * taps))
        if together >= LEAST_ROUND or self.height * self.width > 1:
            return 1
        return blocks * min(inputs, used) / (used * operand.digits) / max(together, 1)

    def _load(self, tiling: Tiling, area: Area, channels: Channels) -> float:
        """Cycles of all LOADs of inputs and weights."""
        pairs = zip(channels.inputs, area.elements, strict=True)
        elements, blocks = sum(n * each for n, each in pairs), sum(channels.inputs)
        by_weights = tiling.order == "weights"
        again = channels.chunks if by_weights or elements > self.depth[Buffer.INP] else 1
        inputs = (
            area.places * again * (elements * self.beats[Buffer.INP] + blocks * self.costs.load)
        )
        whole = self.all_weights <= self.depth[Buffer.WGT]
        part = by_weights and channels.weights <= self.depth[Buffer.WGT]
        weights = self.all_weights * self.beats[Buffer.WGT]
        weights += channels.chunks * channels.steps * self.costs.load
        return inputs + weights * (1 if whole or part else area.places)

    def _first(self, tiling: Tiling, area: Area, channels: Channels) -> float:
        """Cycles that the first multiplication waits for LOAD, beside the start of its sums."""
        first = tiling.inputs * max(area.elements) * self.beats[Buffer.INP]
        first += channels.step_weights * self.beats[Buffer.WGT] + 2 * self.costs.load
        return max(0.0, first - 3 * area.positions * tiling.outputs)


def _distinct(pattern: Pattern) -> int:
    return len(np.unique(pattern[pattern >= 0]))
