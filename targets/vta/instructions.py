"""The instructions of VTA as data. What they do is written in `functional`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from qcompile.targets.vta.config import Buffer


class Queue(IntEnum):
    """The modules that run instructions, each its own queue in order."""

    LOAD = 0
    COMPUTE = 1
    STORE = 2


class AluOp(IntEnum):
    MIN = 0
    MAX = 1
    ADD = 2
    SHR = 3
    MUL = 4


class Uop(NamedTuple):
    """One micro-op: indices of elements; ALU reads `src` in ACC and no `wgt`."""

    dst: int
    src: int
    wgt: int = 0


@dataclass(frozen=True, slots=True)
class Tokens:
    """Taken from (pop) or given to (push) the neighbours in the order LOAD, COMPUTE, STORE."""

    pop_prev: bool = False
    pop_next: bool = False
    push_prev: bool = False
    push_next: bool = False


NO_TOKENS = Tokens()


@dataclass(frozen=True, slots=True)
class Load:
    """Copy rows of DRAM elements on chip; x_size 0 moves nothing. Bases count elements."""

    memory: Buffer
    sram_base: int
    dram_base: int
    y_size: int
    x_size: int
    x_stride: int
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)  # y0, y1, x0, x1
    tokens: Tokens = NO_TOKENS

    @property
    def rows(self) -> int:
        """Rows of the block on chip, padding included."""
        return self.pads[0] + self.y_size + self.pads[1]

    @property
    def columns(self) -> int:
        return self.pads[2] + self.x_size + self.pads[3]


@dataclass(frozen=True, slots=True)
class Store:
    """Copy OUT elements to rows in DRAM; x_size 0 moves nothing."""

    sram_base: int
    dram_base: int
    y_size: int
    x_size: int
    x_stride: int
    tokens: Tokens = NO_TOKENS


@dataclass(frozen=True, slots=True)
class Gemm:
    """ACC[dst] += INP[src] times WGT[wgt] transposed. Pairs are (outer, inner) loop."""

    uops: tuple[int, int]  # begin, end
    extents: tuple[int, int]
    dst: tuple[int, int] = (0, 0)
    src: tuple[int, int] = (0, 0)
    wgt: tuple[int, int] = (0, 0)
    reset: bool = False
    tokens: Tokens = NO_TOKENS


@dataclass(frozen=True, slots=True)
class Alu:
    """ACC[dst] = op(ACC[dst], immediate, or ACC[src] where immediate is None)."""

    op: AluOp
    uops: tuple[int, int]
    extents: tuple[int, int]
    dst: tuple[int, int] = (0, 0)
    src: tuple[int, int] = (0, 0)
    immediate: int | None = None
    tokens: Tokens = NO_TOKENS


@dataclass(frozen=True, slots=True)
class Finish:
    tokens: Tokens = NO_TOKENS


Instruction: TypeAlias = Load | Store | Gemm | Alu | Finish


def queue_of(instruction: Instruction) -> Queue:
    if isinstance(instruction, Load):
        to_load = instruction.memory in (Buffer.INP, Buffer.WGT)
        return Queue.LOAD if to_load else Queue.COMPUTE
    return Queue.STORE if isinstance(instruction, Store) else Queue.COMPUTE


def no_op(queue: Queue, tokens: Tokens) -> Instruction:
    """Moves nothing, but takes and gives tokens."""
    if queue == Queue.STORE:
        return Store(0, 0, 0, 0, 0, tokens)
    memory = Buffer.INP if queue == Queue.LOAD else Buffer.UOP
    return Load(memory, 0, 0, 0, 0, 0, tokens=tokens)
