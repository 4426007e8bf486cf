"""What each instruction of a program touches on chip, and whether it may.

A walk follows one legal sequence of a program without its data: every index is inside its buffer,
everything that is read was written before by the program, and modules that touch the same elements
are ordered by tokens. What breaks this raises OutOfRange, UnwrittenRead or Race.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qcompile.errors import OutOfRange, UnwrittenRead
from qcompile.targets.vta.config import Buffer, Config
from qcompile.targets.vta.encoding import uop_table
from qcompile.targets.vta.instructions import Alu, Gemm, Load, Store
from qcompile.targets.vta.loops import Indices, indices
from qcompile.targets.vta.races import Races


@dataclass(frozen=True)
class Touched:
    """uops: (count, 3). dst, src, wgt: (iterations, count), in the running order row by row."""

    uops: Indices
    dst: Indices
    src: Indices
    wgt: Indices


class Walk:
    """Which elements have been written so far, and the micro-ops on chip."""

    def __init__(self, config: Config, races: Races | None) -> None:
        self.config = config
        self.races = races
        self.uops = np.zeros((config.depth(Buffer.UOP), 3), np.int64)
        self.written = {buffer: np.zeros(config.depth(buffer), bool) for buffer in Buffer}
        self.cached: dict[tuple[object, ...], Touched] = {}

    def load(self, n: int, one: Load, place: str) -> slice:
        """The elements that are written."""
        elements = self._block(place, one.memory, one, one.rows * one.columns)
        if self.races:
            self.races.transfer(n, one)
            if one.memory in (Buffer.INP, Buffer.WGT):
                self.races.write(n, one.memory, elements)
        self.written[one.memory][elements] = True
        return elements

    def load_uops(self, elements: slice, words: npt.NDArray[np.uint32]) -> None:
        self.uops[elements] = uop_table(self.config, words)

    def store(self, n: int, one: Store, place: str) -> slice:
        """The elements that are read."""
        elements = self._block(place, Buffer.OUT, one, one.y_size * one.x_size)
        self._expect_written(place, Buffer.OUT, elements)
        if self.races:
            self.races.read(n, Buffer.OUT, elements)
            self.races.transfer(n, one)
        return elements

    def gemm(self, n: int, one: Gemm, place: str) -> Touched:
        touched = self._touched(one, (Buffer.ACC, Buffer.INP, Buffer.WGT), one.wgt, place)
        if not one.reset:
            self._expect_written(place, Buffer.INP, touched.src)
            self._expect_written(place, Buffer.WGT, touched.wgt)
            self._expect_written(place, Buffer.ACC, touched.dst)
        self.written[Buffer.ACC][touched.dst] = True
        # Implementations differ in what a reset leaves in OUT.
        self.written[Buffer.OUT][touched.dst] = not one.reset
        if self.races:
            self.races.write(n, Buffer.OUT, touched.dst)
            if not one.reset:
                self.races.read(n, Buffer.INP, touched.src)
                self.races.read(n, Buffer.WGT, touched.wgt)
        return touched

    def alu(self, n: int, one: Alu, place: str) -> Touched:
        touched = self._touched(one, (Buffer.ACC, Buffer.ACC, Buffer.WGT), (0, 0), place)
        self._expect_written(place, Buffer.ACC, touched.dst)
        if one.immediate is None:
            self._expect_written(place, Buffer.ACC, touched.src)
        if self.races:
            self.races.write(n, Buffer.OUT, touched.dst)
        self.written[Buffer.OUT][touched.dst] = True
        return touched

    def _block(self, place: str, buffer: Buffer, one: Load | Store, count: int) -> slice:
        if not one.y_size:
            raise OutOfRange(f"{place}: y_size is 0; a block has 1 row or more")
        self._expect_inside(place, buffer, one.sram_base, one.sram_base + count - 1)
        return slice(one.sram_base, one.sram_base + count)

    def _touched(
        self,
        one: Gemm | Alu,
        buffers: tuple[Buffer, Buffer, Buffer],
        wgt_factors: tuple[int, int],
        place: str,
    ) -> Touched:
        begin, end = one.uops
        if not (begin < end and min(one.extents) > 0):
            raise OutOfRange(
                f"{place}: micro-ops {begin} to {end}, loops {one.extents}; none may be empty"
            )
        self._expect_inside(place, Buffer.UOP, begin, end - 1)
        self._expect_written(place, Buffer.UOP, slice(begin, end))
        uops, factors = self.uops[begin:end], (one.dst, one.src, wgt_factors)
        for column, buffer in enumerate(buffers):
            outer, inner = factors[column]
            last = (one.extents[0] - 1) * outer + (one.extents[1] - 1) * inner
            low, high = int(uops[:, column].min()), int(uops[:, column].max())
            self._expect_inside(place, buffer, low, high + last)
        key = (uops.tobytes(), one.extents, factors)
        if key not in self.cached:
            # A layer repeats a few instructions for all its tiles.
            if len(self.cached) == CACHED:
                self.cached.pop(next(iter(self.cached)))
            dst, src, wgt = (
                indices(uops[:, column], one.extents, factors[column]) for column in range(3)
            )
            self.cached[key] = Touched(uops.copy(), dst, src, wgt)
        return self.cached[key]

    def _expect_inside(self, place: str, buffer: Buffer, low: int, high: int) -> None:
        """low, high: the first and the last element."""
        depth = self.config.depth(buffer)
        if low < 0 or high >= depth:
            raise OutOfRange(
                f"{place}: touches elements {low} to {high} of {buffer.name}; "
                f"it has 0 to {depth - 1}"
            )

    def _expect_written(self, place: str, buffer: Buffer, elements: Indices | slice) -> None:
        written = self.written[buffer][elements]
        if not written.all():
            element = np.arange(len(self.written[buffer]))[elements][~written][0]
            stale = " by ALU or a GEMM that adds" if buffer == Buffer.OUT else ""
            raise UnwrittenRead(
                f"{place}: reads element {element} of {buffer.name}, "
                f"which was not written{stale} before"
            )


CACHED = 64
