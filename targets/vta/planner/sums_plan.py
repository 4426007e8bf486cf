"""A layer of sums with its tiling: its tiles, their steps, and the parts of the buffers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from qcompile.targets.vta.config import Buffer, Config
from qcompile.targets.vta.planner.problem import SumsProblem
from qcompile.targets.vta.planner.slots import slot_count
from qcompile.targets.vta.planner.steps import Step, steps
from qcompile.targets.vta.planner.tiles import (
    Range,
    Tile,
    Tiling,
    input_elements,
    ranges,
    term_elements,
    tiles,
    too_small,
)


@dataclass(frozen=True)
class Layout:
    """Slots on chip of a tiling. vectors: of as many ACC elements as a tile has blocks.

    term_elements: of ACC for further terms, behind the sums of all threads.
    """

    acc_elements: int
    term_elements: int
    vectors: int
    inp_elements: int
    inp_slots: int
    wgt_elements: int
    wgt_slots: int


class SumsPlan:
    """A problem, its tiling and what follows from both. Raises BufferTooSmall."""

    def __init__(self, problem: SumsProblem, config: Config, tiling: Tiling) -> None:
        self.problem, self.config, self.tiling = problem, config, tiling
        images, self.height, self.width, channels = problem.output
        self.images = -(-images // config.batch)
        self.blocks = -(-channels // config.block_out)
        self.layout = self._layout()

    @cached_property
    def tiles(self) -> list[Tile]:
        return [*tiles(self.images, self.height, self.width, self.blocks, self.tiling)]

    @cached_property
    def steps(self) -> dict[Range, list[Step]]:
        """By the output blocks of a tile."""
        return {
            part: steps(self.problem, self.config, part, self.tiling.inputs)
            for part in ranges(self.blocks, self.tiling.outputs)
        }

    def _layout(self) -> Layout:
        tiling, depth = self.tiling, self.config.depth
        acc = tiling.rows * tiling.columns * tiling.outputs
        term = term_elements(self.problem, tiling)
        taken = tiling.threads * acc + term
        vectors = min(self._all_vectors, (depth(Buffer.ACC) - taken) // tiling.outputs)
        if vectors < self._tile_vectors:
            needed = taken + self._tile_vectors * tiling.outputs
            raise too_small(self.config, Buffer.ACC, needed)
        inp = input_elements(self.problem, tiling)
        wgt = max((len(step.weights) for part in self.steps.values() for step in part), default=0)
        for buffer, needed in ((Buffer.INP, inp), (Buffer.WGT, wgt)):
            if needed > depth(buffer):
                raise too_small(self.config, buffer, needed)
        by_weights = tiling.order == "weights"
        weights = [{step.weights_key for step in part} for part in self.steps.values()]
        inputs = [{(s.operand, s.plane, s.inputs) for s in part} for part in self.steps.values()]
        all_weights, tile_inputs = len(set().union(*weights)), len(set().union(*inputs))
        part_weights, part_inputs = max(map(len, weights)), max(map(len, inputs))
        places = len(self.tiles) // len(self.steps)
        return Layout(
            acc,
            term,
            vectors,
            inp,
            slot_count(
                inp,
                part_inputs if by_weights else tile_inputs,
                tile_inputs * places,
                depth(Buffer.INP),
                tiling.threads,
            ),
            wgt,
            slot_count(
                wgt,
                part_weights if by_weights else all_weights,
                all_weights,
                depth(Buffer.WGT),
                tiling.threads,
            ),
        )

    @property
    def _all_vectors(self) -> int:
        """Vectors of one block of tiles: starts by class, and shifts."""
        problem = self.problem
        starts = len(problem.row_classes) * len(problem.column_classes)
        return starts * problem.start_vector + self._shift_vectors

    @property
    def _shift_vectors(self) -> int:
        return self.problem.shift_vector + sum(self.problem.terms)

    @cached_property
    def _tile_vectors(self) -> int:
        """The most vectors that one tile needs."""
        most = max(
            len(runs(self.problem.row_classes, tile.rows))
            * len(runs(self.problem.column_classes, tile.columns))
            for tile in self.tiles
        )
        return most * self.problem.start_vector + self._shift_vectors


def runs(classes: tuple[int, ...], part: Range) -> list[tuple[int, Range]]:
    """The classes that a range meets, each with the part of the range that it has."""
    ends = [*classes[1:], part[1]]
    found = [
        (n, (max(begin, part[0]), min(end, part[1])))
        for n, (begin, end) in enumerate(zip(classes, ends, strict=True))
    ]
    return [(n, (begin, end)) for n, (begin, end) in found if begin < end]
