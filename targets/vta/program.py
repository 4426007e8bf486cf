"""Builds instruction streams: written as if one instruction ran after the other.

Three modules run the stream concurrently. The builder remembers which instruction touched which
on-chip element last, and gives every instruction the tokens that keep the meaning of the order
it was written in. Tokens are counters between neighbours, so a token is needed only for an
instruction that no earlier token already stands for; the k-th one taken is then the k-th given.

Micro-ops are kept in their buffer from instruction to instruction, each block of them once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from qcompile.targets.vta.config import UOP_BYTES, Buffer, Config
from qcompile.targets.vta.image import Image, aligned
from qcompile.targets.vta.instructions import (
    Alu,
    AluOp,
    Finish,
    Gemm,
    Instruction,
    Load,
    Queue,
    Store,
    Tokens,
    no_op,
    queue_of,
)

MOST_TOKENS = 8  # between two modules: what every implementation holds (the HLS model's queues)
TOKENS_AHEAD = 4  # which an instruction may add to; the rest is for those that were written with it
UOP_ALIGNMENT = 2  # micro-ops: blocks of them align to 8 bytes
UNKNOWN = 1 << 32  # more than any accumulator holds

UopBlock = npt.NDArray[np.int64]  # (count, 3): dst, src, wgt
Pair = tuple[int, int]
Link = tuple[Queue, Queue]  # giver, taker

# Who writes and who reads the elements that two modules share; OUT stands for ACC, too.
_WRITER = {Buffer.INP: Queue.LOAD, Buffer.WGT: Queue.LOAD, Buffer.OUT: Queue.COMPUTE}
_READER = {Buffer.INP: Queue.COMPUTE, Buffer.WGT: Queue.COMPUTE, Buffer.OUT: Queue.STORE}


class Builder:
    """Instructions so far, and what is known about the buffers behind them."""

    def __init__(self, config: Config, image: Image) -> None:
        self.config = config
        self.image = image
        self.instructions: list[Instruction] = []
        self.numbers: dict[Queue, list[int]] = {queue: [] for queue in Queue}
        self._flags: list[set[str]] = []  # of Tokens, by instruction
        self._needed: dict[Queue, int] = {}  # positions that the last instruction waits for
        # By token: the position in its queue of the instruction that takes it.
        self._takers: dict[Link, list[int]] = {(a, b): [] for a in Queue for b in Queue}
        # The highest position in the giver's queue that the taker has waited for.
        self._known: dict[Link, int] = {(a, b): 0 for a in Queue for b in Queue}
        # The same as each instruction of the taker's queue knew it.
        self._knew: dict[Link, list[int]] = {(a, b): [] for a in Queue for b in Queue}
        self._touched = {
            (buffer, queue): np.zeros(config.depth(buffer), np.int64)
            for buffer in _WRITER
            for queue in (_WRITER[buffer], _READER[buffer])
        }
        # DRAM bytes from, to, that layers stored and LOAD does not know of.
        self._stored: list[Pair] = [(0, 0)]
        # The most that each ACC element can be, as far as a planner says so.
        self.most = np.full(config.depth(Buffer.ACC), UNKNOWN, np.int64)
        self.uops: dict[bytes, int] = {}  # where blocks of micro-ops are on chip
        self._uops_end = 0

    @property
    def position(self) -> int:
        """How many instructions there are."""
        return len(self.instructions)

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
        self._add(one)
        self._wait(Queue.COMPUTE, passed_on)
        if memory in (Buffer.INP, Buffer.WGT):
            self._write(memory, elements)
        elif memory == Buffer.ACC:
            self._write(Buffer.OUT, elements)

    def store(self, sram: int, address: int, shape: Pair, stride: int) -> None:
        """Copy (rows, columns) elements of OUT to a byte address."""
        size, (rows, columns) = self.config.element_bytes(Buffer.OUT), shape
        self._add(Store(sram, address // size, rows, columns, stride))
        self._read(Buffer.OUT, slice(sram, sram + rows * columns))
        last = address + ((rows - 1) * stride + columns) * size
        begin, end = self._stored[-1]
        self._stored[-1] = (min(begin, address), max(end, last)) if end else (address, last)

    def gemm(
        self, uops: UopBlock, extents: Pair, dst: Pair, src: Pair = (0, 0), reset: bool = False
    ) -> None:
        """Multiply and add, or clear, for all micro-ops within two loops (outer, inner)."""
        begin = self._resident(uops)
        self._add(Gemm((begin, begin + len(uops)), extents, dst, src, reset=reset))
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
        self._add(Alu(op, (begin, begin + len(uops)), extents, dst, factors, immediate))
        self._write(Buffer.OUT, _hull(uops[:, 0], extents, dst))

    def finish(self) -> list[Instruction]:
        """All instructions with their tokens, and FINISH behind the work of all modules."""
        self._add(no_op(Queue.COMPUTE, Tokens()))
        for queue in (Queue.LOAD, Queue.STORE):
            self._wait(queue, len(self.numbers[queue]))
        self._take_tokens()
        flagged = [
            replace(one, tokens=Tokens(**dict.fromkeys(flags, True))) if flags else one
            for one, flags in zip(self.instructions, self._flags, strict=True)
        ]
        return [*flagged, Finish()]

    def _add(self, one: Instruction) -> None:
        self._take_tokens()
        mine = queue_of(one)
        self.numbers[mine].append(len(self.instructions))
        self.instructions.append(one)
        self._flags.append(set())
        for other in Queue:
            takers = self._takers[mine, other]
            if len(takers) >= TOKENS_AHEAD:
                self._wait(other, takers[-TOKENS_AHEAD])

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
        self._wait(other, int(self._touched[buffer, other][elements].max()))
        self._touched[buffer, mine][elements] = len(self.numbers[mine])

    def _wait(self, giver: Queue, position: int) -> None:
        """The last instruction waits for that one of another module, counted from 1."""
        if position:
            self._needed[giver] = max(self._needed.get(giver, 0), position)

    def _take_tokens(self) -> None:
        """The last instruction is complete: it takes a token where it needs to wait."""
        if not self.instructions:
            return
        taker = queue_of(self.instructions[-1])
        for giver, position in self._needed.items():
            if position > self._known[giver, taker]:
                self._give(giver, taker, position)
        self._needed.clear()
        for giver in Queue:
            self._knew[giver, taker].append(self._known[giver, taker])

    def _give(self, giver: Queue, taker: Queue, position: int) -> None:
        """A token to the last instruction: of that position, or of the last one where many wait."""
        takers = self._takers[giver, taker]
        known = self._knew[taker, giver][position - 1]
        if sum(taken > known for taken in takers[-MOST_TOKENS:]) >= MOST_TOKENS - 1:
            position = len(self.numbers[giver])
        self._known[giver, taker] = position
        takers.append(len(self.numbers[taker]))
        self._flags[-1].add("pop_prev" if giver < taker else "pop_next")
        push = "push_next" if giver < taker else "push_prev"
        self._flags[self.numbers[giver][position - 1]].add(push)

    def _stores_passed_on(self, begin: int, end: int) -> int:
        """Which COMPUTE instruction stands for the STOREs of these bytes, for LOAD to wait for.

        LOAD and STORE are no neighbours; 0 where LOAD knows of these STOREs already.
        """
        if not any(a < end and begin < b for a, b in self._stored):
            return 0
        self._add(no_op(Queue.COMPUTE, Tokens()))
        self._wait(Queue.STORE, len(self.numbers[Queue.STORE]))
        self._stored = [(0, 0)]
        return len(self.numbers[Queue.COMPUTE])


def _hull(base: npt.NDArray[np.int64], extents: Pair, factors: Pair) -> slice:
    """All elements between the first and the last one that loops touch."""
    last = (extents[0] - 1) * factors[0] + (extents[1] - 1) * factors[1]
    return slice(int(base.min()), int(base.max()) + last + 1)


@dataclass(frozen=True)
class Placement:
    """Where a tensor lies: `planes` arrays one behind the other, each of blocked elements.

    layout: "codes" (planes are signed digits of INP_WIDTH bits, the lowest first; mostly one) or
    "sums" (planes are the bits of int32, OUT_WIDTH at a time, the lowest first).
    """

    address: int
    bytes: int
    shape: tuple[int, int, int, int]
    layout: str
    planes: int = 1


@dataclass(frozen=True)
class Program:
    """What the accelerator runs. image: byte 0 is physical address 0x1000, inputs are zero.

    layers: (name, first instruction, last instruction).
    """

    config: Config
    instructions: list[Instruction]
    image: npt.NDArray[np.uint8]
    placements: dict[str, Placement]
    layers: list[tuple[str, int, int]]
