"""About how many cycles a tiling takes: enough to tell which ones are worth simulating."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from qcompile.errors import BufferTooSmall
from qcompile.targets.vta.config import Buffer, Config
from qcompile.targets.vta.costs import costs_of
from qcompile.targets.vta.planner.pool import PoolPlan
from qcompile.targets.vta.planner.problem import (
    PoolProblem,
    Problem,
    SumsProblem,
    pattern_from,
)
from qcompile.targets.vta.planner.steps import LEAST_ROUND
from qcompile.targets.vta.planner.tiles import Tiling, input_elements, ranges, window

IN_PIECES = 4  # instructions around the multiplications of a tile: begin, shift, two limits


@dataclass(frozen=True)
class Parts:
    """Of the output blocks of a tile, at the most, by operand: what they multiply with.

    inputs: blocks of channels. weights: blocks, all digits. distinct: blocks that differ.
    """

    inputs: tuple[int, ...]
    weights: tuple[int, ...]
    distinct: tuple[int, ...]


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


def estimate_of(problem: Problem, config: Config, port_bytes: int) -> Estimate | PoolEstimate:
    if isinstance(problem, SumsProblem):
        return Estimate(problem, config, port_bytes)
    return PoolEstimate(problem, config, port_bytes)


class Estimate:
    """Cycles of tilings of a layer of sums."""

    def __init__(self, problem: SumsProblem, config: Config, port_bytes: int) -> None:
        self.problem, self.config, self.port_bytes = problem, config, port_bytes
        images, self.height, self.width, channels = problem.output
        self.images = -(-images // config.batch)
        self.blocks = -(-channels // config.block_out)
        self.costs = costs_of(port_bytes)
        self.parts = lru_cache(maxsize=None)(self._parts)

    @cached_property
    def patterns(self) -> list[np.ndarray]:
        operands, channels = self.problem.operands, self.problem.output[3]
        return [pattern_from(each, channels, self.config.block_out) for each in operands]

    def _parts(self, outputs: int) -> Parts:
        inputs, weights, distinct = [], [], []
        for pattern in self.patterns:
            parts = [pattern[:, begin:end] for begin, end in ranges(self.blocks, outputs)]
            inputs.append(max(int((p >= 0).any(axis=(0, 1, 2, 3)).sum()) for p in parts))
            weights.append(max(int((p >= 0).sum()) for p in parts))
            distinct.append(max(len(np.unique(p[p >= 0])) for p in parts))
        return Parts(tuple(inputs), tuple(weights), tuple(distinct))

    def fits(self, tiling: Tiling) -> bool:
        """Whether the buffers hold the tiles, as far as this can tell."""
        depth, parts = self.config.depth, self.parts(tiling.outputs)
        acc = tiling.rows * tiling.columns * tiling.outputs * tiling.threads
        return (
            acc <= depth(Buffer.ACC)
            and input_elements(self.problem, tiling) <= depth(Buffer.INP)
            and self._step_weights(tiling, parts) <= depth(Buffer.WGT)
        )

    def cycles(self, tiling: Tiling) -> float:
        parts, costs = self.parts(tiling.outputs), self.costs
        places = self.images * -(-self.height // tiling.rows) * -(-self.width // tiling.columns)
        chunks = -(-self.blocks // tiling.outputs)
        first, per_tile = self._loads(tiling, parts, places, chunks)
        compute = self._compute(tiling, parts, places * chunks)
        load, store = per_tile, self._store(tiling, places * chunks)
        hidden = max(compute, load, store) if tiling.threads > 1 else compute + load / 2
        return hidden + first + costs.program

    def _compute(self, tiling: Tiling, parts: Parts, count: int) -> float:
        problem, costs = self.problem, self.costs
        elements = self.images * self.height * self.width * self.blocks
        products = sum(
            int((p >= 0).sum()) * each.planes
            for p, each in zip(self.patterns, problem.operands, strict=True)
        )
        begin = (1 if problem.start is not None else 2) + (not problem.starts_over)
        limits = (problem.low is not None) + (problem.high is not None)
        shift = 2 if problem.shift is None else problem.shift > 0
        planes = (problem.planes - 1) * (1 + problem.rounded)
        instructions = sum(
            each.digits * each.planes * self._instructions(n, weights, tiling)
            for each, n, weights in zip(problem.operands, parts.inputs, parts.weights, strict=True)
        )
        uops = tiling.threads * sum(parts.weights) / 2 + costs.load * 4
        return (
            products * self.images * self.height * self.width
            + elements * (begin + limits + shift + planes)
            + count * costs.alu * (IN_PIECES + instructions)
            + uops
        )

    def _instructions(self, inputs: int, weights: int, tiling: Tiling) -> float:
        """GEMM instructions of a tile for one operand, digit and plane."""
        blocks = min(tiling.outputs, self.blocks)
        return -(-inputs // tiling.inputs) if blocks >= LEAST_ROUND else weights / blocks

    def _loads(self, tiling: Tiling, parts: Parts, places: int, chunks: int) -> tuple[float, float]:
        """Cycles of the LOADs that the first multiplication waits for, and of all."""
        config, depth, costs = self.config, self.config.depth, self.costs
        inp_beats = config.element_bytes(Buffer.INP) / self.port_bytes
        wgt_beats = config.element_bytes(Buffer.WGT) / self.port_bytes
        operands = self.problem.operands
        seen = [
            window(each, (0, tiling.rows), (0, tiling.columns), each.dilation) for each in operands
        ]
        inputs = elements = 0
        for n, each, part in zip(parts.inputs, operands, seen, strict=True):
            inputs += n * each.planes
            elements += n * each.planes * part.elements
        by_weights = tiling.order == "weights"
        inputs_again = chunks if by_weights or elements > depth(Buffer.INP) else 1
        weights, all_weights = sum(parts.distinct), self._all_weights
        weights_again = 1
        if all_weights > depth(Buffer.WGT) and not (by_weights and weights <= depth(Buffer.WGT)):
            weights_again = places
        steps = sum(-(-n // tiling.inputs) for n in parts.inputs)
        load = places * inputs_again * (
            elements * inp_beats + inputs * costs.load
        ) + weights_again * (all_weights * wgt_beats + chunks * steps * costs.load)
        first = input_elements(self.problem, tiling) * inp_beats + costs.load
        first += self._step_weights(tiling, parts) * wgt_beats + costs.load
        begun = 3 * tiling.rows * tiling.columns * tiling.outputs
        return max(0.0, first - begun), load

    @cached_property
    def _all_weights(self) -> int:
        return sum(len(np.unique(pattern[pattern >= 0])) for pattern in self.patterns)

    def _store(self, tiling: Tiling, count: int) -> float:
        costs, planes = self.costs, self.problem.planes
        beats = -(-self.config.element_bytes(Buffer.OUT) // self.port_bytes)
        elements = self.images * self.height * self.width * self.blocks * planes
        whole = tiling.columns == self.width
        rows = count * tiling.outputs * (1 if whole else tiling.rows)
        return elements * (beats + costs.store_element) + rows * costs.store_burst

    def _step_weights(self, tiling: Tiling, parts: Parts) -> int:
        """Blocks of weights of one step, at the most."""
        needed = [
            min(distinct, -(-weights * min(tiling.inputs, n) // (n * each.digits)))
            for each, n, weights, distinct in zip(
                self.problem.operands, parts.inputs, parts.weights, parts.distinct, strict=True
            )
            if n
        ]
        return max(needed, default=0)
