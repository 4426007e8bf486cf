"""Emits a layer of sums: tiles of multiplications, each followed by shift, limits and STORE."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from math import isqrt

import numpy as np

from qcompile.targets.vta.builder import Builder
from qcompile.targets.vta.config import Buffer
from qcompile.targets.vta.instructions import AluOp
from qcompile.targets.vta.planner.loads import load_window
from qcompile.targets.vta.planner.loops import Loops
from qcompile.targets.vta.planner.problem import Immediates
from qcompile.targets.vta.planner.slots import Slots
from qcompile.targets.vta.planner.steps import Step
from qcompile.targets.vta.planner.stores import store_blocks
from qcompile.targets.vta.planner.sums_plan import SumsPlan, runs
from qcompile.targets.vta.planner.tiles import (
    Places,
    Tile,
    Window,
    ranges_between,
    term_blocks,
    window,
)
from qcompile.targets.vta.planner.whole import (
    add,
    clear,
    immediate,
    next_plane,
    shift_left,
    shift_right,
)

ALU_OVERHEAD = 9  # cycles of an instruction beside its iterations, for the size of pieces


class SumsEmitter:
    """Adds the instructions of a plan to a builder."""

    def __init__(
        self, builder: Builder, plan: SumsPlan, places: Places, immediates: Immediates
    ) -> None:
        self.builder, self.plan, self.places = builder, plan, places
        self.numbers = immediates
        self.problem, self.config = plan.problem, plan.config
        layout, tiling = plan.layout, plan.tiling
        self.inputs = Slots(0, layout.inp_elements, layout.inp_slots)
        self.weights = Slots(0, layout.wgt_elements, layout.wgt_slots)
        # At the end of ACC, so that sums of the next layer find what sums of this one left.
        first = self.config.depth(Buffer.ACC) - layout.vectors * tiling.outputs
        self.vectors = Slots(first, tiling.outputs, layout.vectors)

    def run(self) -> None:
        threads = self.plan.tiling.threads
        for number, tile in enumerate(self.plan.tiles):
            base = self.builder.next_half() % threads * self.plan.layout.acc_elements
            self._begin(tile, base)
            self._multiply(tile, base)
            last = number == len(self.plan.tiles) - 1
            self._end(tile, base, _pieces(tile) if last or threads == 1 else 1)

    def _begin(self, tile: Tile, base: int) -> None:
        """Sums begin: at zero, at their start, or over what the last tile left."""
        count = tile.elements
        known = int(self.builder.most[base : base + count].max())
        if self.problem.starts_over and known <= self.numbers.least_start:
            self._start(AluOp.MAX, tile, base)
            return
        clear(self.builder, base, count)
        if not self.problem.from_zero:
            self._start(AluOp.ADD, tile, base)

    def _start(self, op: AluOp, tile: Tile, base: int) -> None:
        if not self.problem.start_vector:
            start = self.numbers.start
            if start or op == AluOp.MAX:
                immediate(self.builder, op, base, tile.elements, start)
            return
        parts = [
            (key, rows, columns)
            for row, rows in runs(self.problem.row_classes, tile.rows)
            for column, columns in runs(self.problem.column_classes, tile.columns)
            for key in [("start", row, column)]
        ]
        kept = [(tile.outputs, *key) for key, _, _ in parts]
        for key, rows, columns in parts:
            source = self._vector(tile, key, kept)
            corner = (rows[0] - tile.rows[0]) * tile.width + columns[0] - tile.columns[0]
            extents, factors = (rows[1] - rows[0], columns[1] - columns[0]), (tile.width, 1)
            self._alu_vector(op, tile, base + corner, source, extents, factors)

    def _vector(self, tile: Tile, key: tuple[Hashable, ...], kept: Sequence[Hashable]) -> int:
        """Where a vector of the tile's output blocks is; it is loaded where it is not."""
        place, resident = self.vectors.place((tile.outputs, *key), kept)
        if not resident:
            size = self.config.element_bytes(Buffer.ACC)
            address = self.builder.image.constant(
                (self.places.layer, *key, tile.outputs), tile.blocks * size, size
            )
            self.builder.load(Buffer.ACC, place, address, (1, tile.blocks))
        return place

    def _alu_vector(
        self,
        op: AluOp,
        tile: Tile,
        base: int,
        source: int,
        extents: tuple[int, int],
        factors: tuple[int, int],
    ) -> None:
        """The vector's element of each output block as the second operand of all its positions."""
        block = np.arange(tile.blocks)
        uops = np.stack([base + block * tile.positions, source + block, 0 * block], axis=1)
        outer = factors[0] if extents[0] > 1 else 0
        self.builder.alu(op, uops, extents, (outer, factors[1]), (0, 0))

    def _multiply(self, tile: Tile, base: int) -> None:
        count, exponent = tile.elements, None
        for step in self.plan.steps[tile.outputs]:
            if exponent is not None:
                shift_left(self.builder, base, count, exponent - step.exponent)
            exponent = step.exponent
            operand = self.problem.operands[step.operand]
            seen = window(operand, tile.rows, tile.columns, operand.dilation)
            wgt, inp = self._weights(step), self._inputs(step, tile, seen)
            self._gemm(step, tile, seen, base, inp, wgt)
        shift_left(self.builder, base, count, (exponent or 0) + self.numbers.lift)
        if self.problem.from_zero:
            self._start(AluOp.ADD, tile, base)

    def _weights(self, step: Step) -> int:
        place, resident = self.weights.place(step.weights_key)
        if not resident:
            size = self.config.element_bytes(Buffer.WGT)
            key = (self.places.layer, "weights", *step.weights_key)
            address = self.builder.image.constant(key, len(step.weights) * size, size)
            self.builder.load(Buffer.WGT, place, address, (1, len(step.weights)))
        return place

    def _inputs(self, step: Step, tile: Tile, seen: Window) -> int:
        operand = self.problem.operands[step.operand]
        key = (operand.tensor, step.plane, step.inputs, tile.image, seen)
        place, resident = self.inputs.place(key)
        if not resident:
            height, width, channels = operand.shape
            blocks = -(-channels // self.config.block_in)
            size = self.config.element_bytes(Buffer.INP)
            first = (step.plane * self.plan.images + tile.image) * blocks
            address = self.places.tensors[operand.tensor] + first * height * width * size
            load_window(self.builder, place, address, (height, width), step.inputs, seen)
        return place

    def _gemm(self, step: Step, tile: Tile, seen: Window, base: int, inp: int, wgt: int) -> None:
        operand = self.problem.operands[step.operand]
        output, u, v, place, weight = step.blocks.T
        row, column = u * operand.dilation[0], v * operand.dilation[1]
        src = inp + place * seen.elements + row * seen.columns + column
        uops = np.stack([base + output * tile.positions, src, wgt + weight], axis=1)
        pitch = operand.strides[0] // seen.row_step * seen.columns
        loops = Loops(tile.height, tile.width, (tile.width, 1), (pitch, operand.strides[1]))
        taken = loops.taken_together(step, self.config.depth(Buffer.UOP))
        if taken is not None:
            loops, uops = taken.loops, taken.micro_ops(uops, step)
        for begin, end in [(0, len(uops))] if taken is not None else step.instructions:
            part = np.ascontiguousarray(uops[begin:end])
            self.builder.gemm(part, loops.extents, loops.dst_factors, loops.src_factors)

    def _end(self, tile: Tile, base: int, pieces: int) -> None:
        """Shift, limit and store; in pieces, so that STORE begins before the last is done."""
        parts = [
            (replace(tile, outputs=part), base + (part[0] - tile.outputs[0]) * tile.positions)
            for part in ranges_between(tile.outputs, -(-tile.blocks // pieces))
        ]
        for part, first in parts:
            self._shift_and_limit(tile, part, first)
            self._store(part, first, 0)
        width = self.config.out_width
        for plane in range(1, self.problem.planes):
            for part, first in parts:
                next_plane(self.builder, first, part.elements, width, self.problem.rounded)
                self._store(part, first, plane)
        self.builder.most[base : base + tile.elements] = self.numbers.left

    def _shift_and_limit(self, tile: Tile, part: Tile, first: int) -> None:
        if self.problem.terms:
            self._add_terms(tile, part, first)
        if self.problem.shift_vector:
            self._shift_by_vector(tile, part, first, ("shift",))
        shift_right(self.builder, first, part.elements, self.numbers.shift)
        if self.problem.zero_added:
            immediate(self.builder, AluOp.ADD, first, part.elements, self.numbers.zero_out)
        if self.problem.limits[0]:
            immediate(self.builder, AluOp.MAX, first, part.elements, self.numbers.low)
        if self.problem.limits[1]:
            immediate(self.builder, AluOp.MIN, first, part.elements, self.numbers.high)

    def _shift_by_vector(
        self, tile: Tile, part: Tile, first: int, key: tuple[Hashable, ...]
    ) -> None:
        source = self._vector(tile, key, []) + part.outputs[0] - tile.outputs[0]
        self._alu_vector(AluOp.SHR, part, first, source, (1, part.positions), (0, 1))

    def _add_terms(self, tile: Tile, part: Tile, first: int) -> None:
        """Adds multiples of the sums: copies of some blocks, shifted further for each term."""
        copy = self.plan.tiling.threads * self.plan.layout.acc_elements
        for outputs in ranges_between(part.outputs, term_blocks(self.plan.tiling)):
            some = replace(part, outputs=outputs)
            base, count = first + (outputs[0] - part.outputs[0]) * part.positions, some.elements
            clear(self.builder, copy, count)
            add(self.builder, copy, base, count)
            for number, vector in enumerate(self.problem.terms):
                if vector:
                    self._shift_by_vector(tile, some, copy, ("term", number))
                else:
                    shift_right(self.builder, copy, count, self.numbers.terms[number])
                add(self.builder, base, copy, count)

    def _store(self, tile: Tile, first: int, plane: int) -> None:
        plan = self.plan
        blocks = (plane * plan.images + tile.image) * plan.blocks
        size = self.config.element_bytes(Buffer.OUT)
        address = self.places.output + blocks * plan.height * plan.width * size
        store_blocks(self.builder, first, address, (plan.height, plan.width), tile)


def _pieces(tile: Tile) -> int:
    """Into how many pieces the end of a tile goes: STORE of the last one against ALU overhead.

    STORE takes about three cycles per element, and so do shift and limits, which are three
    instructions for each piece; 3 * elements / pieces + 3 * pieces * overhead is least.
    """
    return max(1, min(tile.blocks, isqrt(tile.elements // ALU_OVERHEAD)))
