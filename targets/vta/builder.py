"""Builds instruction streams: written as if one instruction ran after the other.

The builder remembers which instruction touched which on-chip element last, so that each one waits
for those of other modules that it must not overtake.

Micro-ops are kept in their buffer from instruction to instruction, each block of them once.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from qcompile.targets.vta.config import UOP_BYTES, Buffer, Config
from qcompile.targets.vta.image import Image, aligned
from qcompile.targets.vta.instructions import (
    Alu,
    AluOp,
    Gemm,
    Instruction,
    Load,
    Queue,
    Store,
    Tokens,
    no_op,
    queue_of,
)
from qcompile.targets.vta.stream import Stream

UOP_ALIGNMENT = 2  # micro-ops: blocks of them align to 8 bytes
UNKNOWN = 1 << 32  # more than any accumulator holds

UopBlock = npt.NDArray[np.int64]  # (count, 3): dst, src, wgt
Pair = tuple[int, int]

# Who writes and who reads the elements that two modules share; OUT stands for ACC, too.
_WRITER = {Buffer.INP: Queue.LOAD, Buffer.WGT: Queue.LOAD, Buffer.OUT: Queue.COMPUTE}
_READER = {Buffer.INP: Queue.COMPUTE, Buffer.WGT: Queue.COMPUTE, Buffer.OUT: Queue.STORE}


class Builder:
    """Instructions so far, and what is known about the buffers behind them."""

    def __init__(self, config: Config, image: Image) -> None:
        self.config = config
        self.image = image
        self.stream = Stream()
        self._touched = {
            (buffer, queue): np.zeros(config.depth(buffer), np.int64)
            for buffer in _WRITER
            for queue in (_WRITER[buffer], _READER[buffer])
        }
        # DRAM bytes from, to, that layers stored and LOAD does not know of.
        self._stored: list[Pair] = [(0, 0)]
        # The most that each ACC element can be, as far as a planner says so.
        self.most = np.full(config.depth(Buffer.ACC), UNKNOWN, np.int64)
        self.half = 1
        self.uops: dict[bytes, int] = {}  # where blocks of micro-ops are on chip
        self._uops_end = 0

    @property
    def position(self) -> int:
        """How many instructions there are."""
        return len(self.stream.instructions)

    def next_half(self) -> int:
        """0 and 1 in turn: the half of ACC that was not used last, by any layer."""
        self.half = 1 - self.half
        return self.half

    def begin_layer(self) -> None:
        """STOREs from here on write another tensor."""
        self._stored.append((0, 0))

    def load(
        self,
        memory: Buffer,
        sram: int,
        address: int,
        shape: Pair,
        stride: int = 0,
        pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    ) -> None:
        """Copy (rows, columns) elements from a byte address; rows are `stride` elements apart."""
        size, (rows, columns) = self.config.element_bytes(memory), shape
        one = Load(memory, sram, address // size, rows, columns, stride or columns, pads)
        elements = slice(sram, sram + one.rows * one.columns)
        last = address + ((rows - 1) * one.x_stride + columns) * size
        passed_on = self._stores_passed_on(address, last) if queue_of(one) == Queue.LOAD else 0
        self.stream.add(one)
        self.stream.wait(Queue.COMPUTE, passed_on)
        if memory in (Buffer.INP, Buffer.WGT):
            self._write(memory, elements)
        elif memory == Buffer.ACC:
            self._write(Buffer.OUT, elements)

    def store(self, sram: int, address: int, shape: Pair, stride: int) -> None:
        """Copy (rows, columns) elements of OUT to a byte address."""
        size, (rows, columns) = self.config.element_bytes(Buffer.OUT), shape
        self.stream.add(Store(sram, address // size, rows, columns, stride))
        self._read(Buffer.OUT, slice(sram, sram + rows * columns))
        last = address + ((rows - 1) * stride + columns) * size
        begin, end = self._stored[-1]
        self._stored[-1] = (min(begin, address), max(end, last)) if end else (address, last)

    def gemm(
        self, uops: UopBlock, extents: Pair, dst: Pair, src: Pair = (0, 0), reset: bool = False
    ) -> None:
        """Multiply and add, or clear, for all micro-ops within two loops (outer, inner)."""
        begin = self._resident(uops)
        self.stream.add(Gemm((begin, begin + len(uops)), extents, dst, src, reset=reset))
        if not reset:
            self._read(Buffer.INP, _hull(uops[:, 1], extents, src))
            self._read(Buffer.WGT, _hull(uops[:, 2], (1, 1), (0, 0)))
        self._write(Buffer.OUT, _hull(uops[:, 0], extents, dst))

    def alu(
        self,
        op: AluOp,
        uops: UopBlock,
        extents: Pair,
        dst: Pair,
        src: Pair | None = None,
        immediate: int | None = None,
    ) -> None:
        """An operation with an immediate, or with the source of each micro-op."""
        begin = self._resident(uops)
        factors = dst if src is None else src
        self.stream.add(Alu(op, (begin, begin + len(uops)), extents, dst, factors, immediate))
        self._write(Buffer.OUT, _hull(uops[:, 0], extents, dst))

    def finish(self) -> list[Instruction]:
        """All instructions with their tokens, FINISH the last."""
        return self.stream.finished()

    def preload(self, blocks: Iterable[UopBlock]) -> None:
        """Loads all micro-ops that are not there yet at once, where they fit together."""
        missing = {block.tobytes(): block for block in blocks if block.tobytes() not in self.uops}
        padded = [
            np.pad(block, ((0, len(block) % UOP_ALIGNMENT), (0, 0))) for block in missing.values()
        ]
        if not missing or sum(map(len, padded)) > self.config.depth(Buffer.UOP):
            return
        begin = self._load_uops(np.concatenate(padded))
        for key, block in zip(missing, padded, strict=True):
            self.uops[key] = begin
            begin += len(block)

    def _resident(self, uops: UopBlock) -> int:
        """Where the micro-ops are on chip; they are loaded where they are not."""
        key = uops.tobytes()
        if key not in self.uops:
            self.uops[key] = self._load_uops(uops)
        return self.uops[key]

    def _load_uops(self, table: UopBlock) -> int:
        """Where these micro-ops are now; the others are forgotten where there is no room."""
        count = aligned(len(table), UOP_ALIGNMENT)
        if self._uops_end + count > self.config.depth(Buffer.UOP):
            self.uops.clear()
            self._uops_end = 0
        begin, size = self._uops_end, len(table) * UOP_BYTES
        address = self.image.constant(("uop", table.tobytes()), size, UOP_BYTES)
        self.load(Buffer.UOP, begin, address, (1, len(table)))
        self._uops_end += count
        return begin

    def _write(self, buffer: Buffer, elements: slice) -> None:
        """The last instruction writes: after the module that read these elements."""
        self._touch(buffer, elements, _WRITER[buffer], _READER[buffer])
        if buffer == Buffer.OUT:
            self.most[elements] = UNKNOWN

    def _read(self, buffer: Buffer, elements: slice) -> None:
        self._touch(buffer, elements, _READER[buffer], _WRITER[buffer])

    def _touch(self, buffer: Buffer, elements: slice, mine: Queue, other: Queue) -> None:
        self.stream.wait(other, int(self._touched[buffer, other][elements].max()))
        self._touched[buffer, mine][elements] = self.stream.count(mine)

    def _stores_passed_on(self, begin: int, end: int) -> int:
        """Which COMPUTE instruction stands for the STOREs of these bytes, for LOAD to wait for.

        LOAD and STORE are no neighbours; 0 where LOAD knows of these STOREs already.
        """
        if not any(a < end and begin < b for a, b in self._stored):
            return 0
        self.stream.add(no_op(Queue.COMPUTE, Tokens()))
        self.stream.wait(Queue.STORE, self.stream.count(Queue.STORE))
        self._stored = [(0, 0)]
        return self.stream.count(Queue.COMPUTE)


def _hull(base: npt.NDArray[np.int64], extents: Pair, factors: Pair) -> slice:
    """All elements between the first and the last one that loops touch."""
    last = (extents[0] - 1) * factors[0] + (extents[1] - 1) * factors[1]
    return slice(int(base.min()), int(base.max()) + last + 1)
