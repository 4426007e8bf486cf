"""Emits a layer of sums: tiles of multiplications, each followed by shift, limits and STORE."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import isqrt

import numpy as np

from qcompile.errors import BufferTooSmall
from qcompile.targets.vta.config import Buffer, Config
from qcompile.targets.vta.image import Image
from qcompile.targets.vta.instructions import AluOp
from qcompile.targets.vta.planner.loads import load_window
from qcompile.targets.vta.planner.problem import SumsProblem
from qcompile.targets.vta.planner.steps import Step, steps
from qcompile.targets.vta.planner.stores import store_blocks
from qcompile.targets.vta.planner.tiles import (
    Range,
    Slots,
    Tile,
    Tiling,
    Window,
    input_elements,
    ranges,
    ranges_between,
    slot_count,
    tiles,
    window,
)
from qcompile.targets.vta.program import Builder, UopBlock

LARGEST_LEFT_SHIFT = 16  # of one portable SHR
LARGEST_RIGHT_SHIFT = 15
ALU_OVERHEAD = 9  # cycles of an instruction beside its iterations, for the size of pieces


@dataclass(frozen=True)
class Places:
    """DRAM addresses of the tensors that operands name, of the output, and a key of the layer."""

    tensors: tuple[int, ...]
    output: int
    layer: Hashable


@dataclass(frozen=True)
class Layout:
    """Slots on chip of a tiling. vectors: of as many ACC elements as a tile has blocks."""

    acc_elements: int
    vectors: int
    inp_elements: int
    inp_slots: int
    wgt_elements: int
    wgt_slots: int


class SumsPlan:
    """A problem, its tiling and what follows from both."""

    def __init__(self, problem: SumsProblem, config: Config, tiling: Tiling) -> None:
        self.problem, self.config, self.tiling = problem, config, tiling
        images, self.height, self.width, channels = problem.output
        self.images = -(-images // config.batch)
        self.blocks = -(-channels // config.block_out)

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

    @cached_property
    def layout(self) -> Layout:
        """Raises BufferTooSmall."""
        tiling, depth = self.tiling, self.config.depth
        acc = tiling.rows * tiling.columns * tiling.outputs
        vectors = min(
            self._all_vectors, (depth(Buffer.ACC) - tiling.threads * acc) // tiling.outputs
        )
        if vectors < self._tile_vectors:
            needed = tiling.threads * acc + self._tile_vectors * tiling.outputs
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
        return starts * (problem.start is None) + (problem.shift is None)

    @cached_property
    def _tile_vectors(self) -> int:
        """The most vectors that one tile needs."""
        most = max(
            len(runs(self.problem.row_classes, tile.rows))
            * len(runs(self.problem.column_classes, tile.columns))
            for tile in self.tiles
        )
        return most * (self.problem.start is None) + (self.problem.shift is None)


def runs(classes: tuple[int, ...], part: Range) -> list[tuple[int, Range]]:
    """The classes that a range meets, each with the part of the range that it has."""
    ends = [*classes[1:], part[1]]
    found = [
        (n, (max(begin, part[0]), min(end, part[1])))
        for n, (begin, end) in enumerate(zip(classes, ends, strict=True))
    ]
    return [(n, (begin, end)) for n, (begin, end) in found if begin < end]


def emit_sums(builder: Builder, plan: SumsPlan, places: Places) -> None:
    """Adds the layer's instructions. Raises BufferTooSmall."""
    rehearsal = Builder(builder.config, Image())
    _Emitter(rehearsal, plan, places).run()
    builder.preload(np.frombuffer(key, np.int64).reshape(-1, 3) for key in rehearsal.uops)
    _Emitter(builder, plan, places).run()


class _Emitter:
    def __init__(self, builder: Builder, plan: SumsPlan, places: Places) -> None:
        self.builder, self.plan, self.places = builder, plan, places
        self.problem, self.config = plan.problem, plan.config
        layout, tiling = plan.layout, plan.tiling
        self.inputs = Slots(0, layout.inp_elements, layout.inp_slots)
        self.weights = Slots(0, layout.wgt_elements, layout.wgt_slots)
        first = tiling.threads * layout.acc_elements
        self.vectors = Slots(first, tiling.outputs, layout.vectors)

    def run(self) -> None:
        threads = self.plan.tiling.threads
        for number, tile in enumerate(self.plan.tiles):
            base = number % threads * self.plan.layout.acc_elements
            self._begin(tile, base)
            self._multiply(tile, base)
            last = number == len(self.plan.tiles) - 1
            self._end(tile, base, _pieces(tile) if last or threads == 1 else 1)

    def _begin(self, tile: Tile, base: int) -> None:
        """Sums begin: at zero, at their start, or over what the last tile left."""
        count = tile.elements
        known = int(self.builder.most[base : base + count].max())
        if self.problem.starts_over and known <= self.problem.least_start:
            self._start(AluOp.MAX, tile, base)
            return
        self.builder.gemm(_uops(base, 0), (1, count), (0, 1), reset=True)
        if not self.problem.in_digits:
            self._start(AluOp.ADD, tile, base)

    def _start(self, op: AluOp, tile: Tile, base: int) -> None:
        start = self.problem.start
        if start is not None:
            if start or op == AluOp.MAX:
                self._alu(op, base, tile.elements, start)
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

    def _alu(self, op: AluOp, base: int, count: int, immediate: int) -> None:
        self.builder.alu(op, _uops(base, base), (1, count), (0, 1), immediate=immediate)

    def _multiply(self, tile: Tile, base: int) -> None:
        count, exponent = tile.elements, None
        for step in self.plan.steps[tile.outputs]:
            if exponent is not None:
                self._shift_left(base, count, exponent - step.exponent)
            exponent = step.exponent
            operand = self.problem.operands[step.operand]
            seen = window(operand, tile.rows, tile.columns)
            wgt, inp = self._weights(step), self._inputs(step, tile, seen)
            self._gemm(step, tile, seen, base, inp, wgt)
        self._shift_left(base, count, exponent or 0)
        if self.problem.in_digits:
            self._start(AluOp.ADD, tile, base)

    def _shift_left(self, base: int, count: int, by: int) -> None:
        for part in parts_of(by, LARGEST_LEFT_SHIFT):
            self._alu(AluOp.SHR, base, count, -part)

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
        tall, wide = tile.height > 1, tile.width > 1
        pitch = operand.strides[0] // seen.row_step * seen.columns
        for begin, end in step.instructions:
            self.builder.gemm(
                np.ascontiguousarray(uops[begin:end]),
                (tile.height, tile.width),
                (tile.width * tall, 1 * wide),
                (pitch * tall, operand.strides[1] * wide),
            )

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
                if self.problem.rounded:
                    self._alu(AluOp.ADD, first, part.elements, 1 << (width - 1))
                self._alu(AluOp.SHR, first, part.elements, width)
                self._store(part, first, plane)
        self.builder.most[base : base + tile.elements] = self.problem.left

    def _shift_and_limit(self, tile: Tile, part: Tile, first: int) -> None:
        if self.problem.shift is None:
            source = self._vector(tile, ("shift",), []) + part.outputs[0] - tile.outputs[0]
            self._alu_vector(AluOp.SHR, part, first, source, (1, tile.positions), (0, 1))
        else:
            for by in parts_of(self.problem.shift, LARGEST_RIGHT_SHIFT):
                self._alu(AluOp.SHR, first, part.elements, by)
        for op, limit in ((AluOp.MAX, self.problem.low), (AluOp.MIN, self.problem.high)):
            if limit is not None:
                self._alu(op, first, part.elements, limit)

    def _store(self, tile: Tile, first: int, plane: int) -> None:
        plan = self.plan
        blocks = (plane * plan.images + tile.image) * plan.blocks
        size = self.config.element_bytes(Buffer.OUT)
        address = self.places.output + blocks * plan.height * plan.width * size
        store_blocks(self.builder, first, address, (plan.height, plan.width), tile)


def parts_of(shift: int, most: int) -> list[int]:
    """A shift as shifts that one portable instruction can do."""
    return [min(most, shift - done) for done in range(0, shift, most)]


def _uops(dst: int, src: int) -> UopBlock:
    return np.array([[dst, src, 0]], np.int64)


def _pieces(tile: Tile) -> int:
    """Into how many pieces the end of a tile goes: STORE of the last one against ALU overhead.

    STORE takes about three cycles per element, and so do shift and limits, which are three
    instructions for each piece; 3 * elements / pieces + 3 * pieces * overhead is least.
    """
    return max(1, min(tile.blocks, isqrt(tile.elements // ALU_OVERHEAD)))


def too_small(config: Config, buffer: Buffer, elements: int) -> BufferTooSmall:
    """The error of a layer that needs so many elements of a buffer."""
    needed, size = elements * config.element_bytes(buffer), config.element_bytes(buffer)
    found, name = config.depth(buffer) * size, buffer.name
    return BufferTooSmall(
        f"the smallest tile needs {needed} bytes of {name}, which has {found}; "
        f"LOG_{name}_BUFF_SIZE {(needed - 1).bit_length()} works"
    )
