"""Emits a max pooling: values go through the GEMM unit unchanged, then ALU takes the largest."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

import numpy as np

from qcompile.targets.vta.builder import Builder, UopBlock
from qcompile.targets.vta.config import Buffer
from qcompile.targets.vta.instructions import AluOp
from qcompile.targets.vta.planner.loads import load_window
from qcompile.targets.vta.planner.pool_plan import Phases, PoolPlan
from qcompile.targets.vta.planner.slots import Slots
from qcompile.targets.vta.planner.stores import store_blocks, store_rows
from qcompile.targets.vta.planner.tiles import (
    Places,
    Range,
    Tile,
    Window,
    window,
)
from qcompile.targets.vta.planner.whole import clear, next_plane, shift_left


class PoolEmitter:
    """Adds the instructions of a plan to a builder."""

    def __init__(self, builder: Builder, plan: PoolPlan, places: Places) -> None:
        self.builder, self.plan, self.places = builder, plan, places
        self.problem, self.config = plan.problem, plan.config
        self.inputs = Slots(0, plan.inp_elements, plan.tiling.threads)
        self.image = (plan.height, plan.width)

    def run(self) -> None:
        size = self.config.element_bytes(Buffer.WGT)
        address = self.builder.image.constant(("one",), size, size)
        self.builder.load(Buffer.WGT, 0, address, (1, 1))
        for tile in self.plan.tiles:
            base = self.builder.next_half() % self.plan.tiling.threads * self.plan.acc_elements
            phases = self.plan.phases(tile.height, tile.width)
            seen = window(self.problem, tile.rows, tile.columns)
            self._copy(tile, seen, phases, base)
            self._lower_pads(tile, seen, phases, base)
            self._reduce(tile, phases, base)
            self._store(tile, phases, base)
            elements = slice(base, base + tile.blocks * phases.elements)
            self.builder.most[elements] = max(0, self.problem.highest)

    def _copy(self, tile: Tile, seen: Window, phases: Phases, base: int) -> None:
        """From DRAM to ACC: times 1, digit by digit from the highest, as all of 1's are equal."""
        count, above = tile.blocks * phases.elements, None
        clear(self.builder, base, count)
        for exponent, plane in self.plan.passes:
            if above is not None:
                shift_left(self.builder, base, count, above - exponent)
            above = exponent
            self._multiply(tile, seen, phases, base, self._load(tile, seen, plane))

    def _load(self, tile: Tile, seen: Window, plane: int) -> int:
        plan, (height, width, _) = self.plan, self.problem.shape
        key: Hashable = (plane, tile, seen)
        place, resident = self.inputs.place(key)
        if not resident:
            size = self.config.element_bytes(Buffer.INP)
            first = (plane * plan.images + tile.image) * plan.blocks * height * width
            address = self.places.tensors[0] + first * size
            blocks = tuple(range(*tile.outputs))
            load_window(self.builder, place, address, (height, width), blocks, seen)
        return place

    def _multiply(self, tile: Tile, seen: Window, phases: Phases, base: int, inp: int) -> None:
        """Each phase by the identity."""
        sh, sw = self.problem.strides
        block = np.arange(tile.blocks)
        step = sh // seen.row_step
        for u, v in np.ndindex(*phases.counts):
            extents = self._phase_extents(seen, phases, u, v)
            dst = base + block * phases.elements + phases.place(u, v, (sh, sw))
            src = inp + block * seen.elements + u * seen.columns + v
            uops = np.stack([dst, src, 0 * block], axis=1)
            self._loop(uops, extents, phases.columns, (step * seen.columns, sw))

    def _phase_extents(self, seen: Window, phases: Phases, u: int, v: int) -> tuple[int, int]:
        """Rows and columns of a phase that are in the window."""
        step = self.problem.strides[0] // seen.row_step
        rows, columns = (
            -(-(seen.rows - u) // step),
            -(-(seen.columns - v) // self.problem.strides[1]),
        )
        return min(rows, phases.rows), min(columns, phases.columns)

    def _loop(
        self, uops: UopBlock, extents: tuple[int, int], pitch: int, src: tuple[int, int]
    ) -> None:
        tall, wide = extents[0] > 1, extents[1] > 1
        self.builder.gemm(uops, extents, (pitch * tall, 1 * wide), (src[0] * tall, src[1] * wide))

    def _lower_pads(self, tile: Tile, seen: Window, phases: Phases, base: int) -> None:
        """Padding becomes the lowest value: LOAD made it zero."""
        if self.problem.lowest >= 0:
            return
        block = np.arange(tile.blocks)
        for u, v in np.ndindex(*phases.counts):
            first = base + block * phases.elements + phases.place(u, v, self.problem.strides)
            for rows, columns in self._pads(seen, phases, u, v):
                corner = first + rows[0] * phases.columns + columns[0]
                extents = (rows[1] - rows[0], columns[1] - columns[0])
                dst = (phases.columns * (extents[0] > 1), 1 * (extents[1] > 1))
                uops = np.stack([corner, corner, 0 * block], axis=1)
                self.builder.alu(AluOp.MIN, uops, extents, dst, immediate=self.problem.lowest)

    def _pads(self, seen: Window, phases: Phases, u: int, v: int) -> Iterator[tuple[Range, Range]]:
        """Rectangles of a phase that lie outside of the image."""
        (height, width, _), (sh, sw) = self.problem.shape, self.problem.strides
        rows, columns = self._phase_extents(seen, phases, u, v)
        top, bottom = _inside(seen.row + u * seen.row_step, sh, rows, height)
        left, right = _inside(seen.column + v, sw, columns, width)
        parts = (
            ((0, top), (0, columns)),
            ((bottom, rows), (0, columns)),
            ((top, bottom), (0, left)),
            ((top, bottom), (right, columns)),
        )
        yield from (part for part in parts if part[0][0] < part[0][1] and part[1][0] < part[1][1])

    def _reduce(self, tile: Tile, phases: Phases, base: int) -> None:
        (kh, kw), (sh, sw) = self.problem.kernel, self.problem.strides
        for u in range(phases.counts[0]):
            rows = tile.height + (kh - 1 - u) // sh
            for tap, spare in _taps(kw, sw):
                self._largest(tile, phases, base, (u, 0), (u, tap), (rows, tile.width + spare))
        for tap, spare in _taps(kh, sh):
            self._largest(tile, phases, base, (0, 0), (tap, 0), (tile.height + spare, tile.width))

    def _largest(
        self,
        tile: Tile,
        phases: Phases,
        base: int,
        to: tuple[int, int],
        tap: tuple[int, int],
        extents: tuple[int, int],
    ) -> None:
        """One tap of a rectangle of outputs."""
        strides = self.problem.strides
        first = base + np.arange(tile.blocks) * phases.elements
        dst, src = first + phases.place(*to, strides), first + phases.place(*tap, strides)
        factors = (phases.columns * (extents[0] > 1), 1 * (extents[1] > 1))
        uops = np.stack([dst, src, 0 * dst], axis=1)
        self.builder.alu(AluOp.MAX, uops, extents, factors, factors)

    def _store(self, tile: Tile, phases: Phases, base: int) -> None:
        plan, size = self.plan, self.config.element_bytes(Buffer.OUT)
        for plane in range(self.problem.planes):
            if plane:
                count = tile.blocks * phases.elements
                next_plane(self.builder, base, count, self.config.out_width, True)
            first = (plane * plan.images + tile.image) * plan.blocks * plan.height * plan.width
            address = self.places.output + first * size
            if phases.elements == tile.positions:
                store_blocks(self.builder, base, address, self.image, tile)
            else:
                store_rows(
                    self.builder,
                    base,
                    address,
                    self.image,
                    tile,
                    phases.columns,
                    phases.elements,
                )


def _taps(kernel: int, stride: int) -> list[tuple[int, int]]:
    """The taps of an axis but the first, in order, each with the outputs beside the tile's.

    Taps in the first phase all are one stride away: each takes the largest of what the last one
    made of the next output, so that the first of them needs all outputs that the others read.
    """
    same = (kernel - 1) // stride
    others = [tap for tap in range(1, kernel) if tap % stride]
    return [*((stride, same - 1 - n) for n in range(same)), *((tap, 0) for tap in others)]


def _inside(first: int, stride: int, count: int, size: int) -> tuple[int, int]:
    """Of places first, first + stride, ...: which ones are in 0..size, from, to."""
    begin = min(max(0, -(first // stride)), count)
    end = min(max(begin, -(-(size - first) // stride)), count)
    return begin, end
