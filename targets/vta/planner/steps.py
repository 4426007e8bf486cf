"""The steps of a tile: what is loaded and multiplied together, and in which order of micro-ops.

A step takes some input blocks of one plane of one source, and one digit of their weights. Steps
come by falling exponent: what is summed so far is shifted left between exponents.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from qcompile.targets.vta.config import Buffer, Config
from qcompile.targets.vta.planner.problem import Pattern, SumsProblem, pattern_from

# A micro-op must not add to what one of the two before it has added to: the pipeline of some
# designs would read the old sum. One instruction therefore goes round at least as many blocks.
LEAST_ROUND = 3

Table = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Step:
    """inputs: blocks of channels. weights: numbers of the blocks to load, in order.

    blocks: (count, 5), one row per micro-op: output block within the tile, tap row, tap column,
    place in `inputs`, place in `weights`. rounds: rows of different output blocks, from, to.
    instructions: the rows that one GEMM takes each, if it takes no position of the tile twice.
    """

    operand: int
    plane: int
    exponent: int
    inputs: tuple[int, ...]
    weights: tuple[int, ...]
    blocks: Table
    rounds: tuple[tuple[int, int], ...]
    instructions: tuple[tuple[int, int], ...]

    @property
    def least_round(self) -> int:
        return min(end - begin for begin, end in self.rounds)

    def repeated(self, times: int) -> tuple[Table, Table]:
        """By micro-op: its row, and which repetition of the row's round it is in."""
        rows = [np.tile(np.arange(begin, end), times) for begin, end in self.rounds]
        repetitions = [np.repeat(np.arange(times), end - begin) for begin, end in self.rounds]
        return np.concatenate(rows), np.concatenate(repetitions)

    @property
    def weights_key(self) -> tuple[int, tuple[int, ...]]:
        return self.operand, self.weights


def steps(
    problem: SumsProblem, config: Config, outputs: tuple[int, int], inputs: int
) -> list[Step]:
    """For output blocks from, to: with up to so many input blocks per step."""
    found = []
    for number, operand in enumerate(problem.operands):
        pattern = pattern_from(operand, problem.output[3], config.block_out)
        for digit, plane in np.ndindex(operand.digits, operand.planes):
            exponent = digit * config.wgt_width + plane * config.inp_width
            part = pattern[digit, outputs[0] : outputs[1]]
            for chunk in _chunks(part, inputs):
                limit = config.depth(Buffer.UOP)
                found.append(_step(number, plane, exponent, part, chunk, limit))
    return sorted(found, key=lambda step: -step.exponent)


def _chunks(pattern: Pattern, size: int) -> Iterator[tuple[int, ...]]:
    """The input blocks that have weights, so many at a time."""
    used = np.flatnonzero((pattern >= 0).any(axis=(0, 1, 2))).tolist()
    for first in range(0, len(used), size):
        yield tuple(used[first : first + size])


def _step(
    operand: int, plane: int, exponent: int, pattern: Pattern, inputs: tuple[int, ...], limit: int
) -> Step:
    part = pattern[..., list(inputs)]
    output, u, v, place = np.nonzero(part >= 0)
    numbers = part[output, u, v, place]
    turn = _turns(output, np.lexsort((v, u, place, output)))
    order = np.lexsort((output, turn))
    loaded: dict[int, int] = {}
    index = [loaded.setdefault(n, len(loaded)) for n in numbers[order].tolist()]
    blocks = np.stack([output, u, v, place], axis=1)[order].astype(np.int64)
    return Step(
        operand,
        plane,
        exponent,
        inputs,
        tuple(loaded),
        np.column_stack([blocks, index]),
        tuple(pairwise([0, *np.cumsum(np.bincount(turn)).tolist()])),
        tuple(_instructions(turn[order], limit)),
    )


def _turns(output: Table, order: Table) -> Table:
    """By block: how many blocks of the same output come before it in the order."""
    turns = np.empty(len(output), np.int64)
    _, first, counts = np.unique(output[order], return_index=True, return_counts=True)
    turns[order] = np.arange(len(output)) - np.repeat(first, counts)
    return turns


def _instructions(turn: Table, limit: int) -> Iterator[tuple[int, int]]:
    """Rounds of enough outputs together, each smaller round alone; no more than the limit."""
    sizes = np.bincount(turn)
    long = int(sizes[sizes >= LEAST_ROUND].sum())
    ends = [long, *(long + np.cumsum(sizes[sizes < LEAST_ROUND])).tolist()]
    begin = 0
    for end in ends:
        for first in range(begin, end, limit):
            yield first, min(first + limit, end)
        begin = end
