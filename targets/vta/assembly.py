"""Instructions as text, one a line: number, queue, operation, operands, tokens."""

from __future__ import annotations

from collections.abc import Sequence

from qcompile.targets.vta.config import Buffer, Config
from qcompile.targets.vta.dram import ADDRESS_SPACE, buffer_of
from qcompile.targets.vta.instructions import (
    Alu,
    Finish,
    Gemm,
    Instruction,
    Load,
    Queue,
    Store,
    queue_of,
)


def disassemble(config: Config, instructions: Sequence[Instruction]) -> str:
    """A line for each instruction:

    5 COMPUTE  GEMM   uops 1..10 loops 14x7 acc (14,1) inp (16,2) wgt (3,9)  | take load, give load

    Pairs are factors of the outer and the inner loop; `inp[5..28]` are elements on chip.
    """
    lines = []
    for n, one in enumerate(instructions):
        queue = queue_of(one)
        tokens = _tokens(one, queue)
        text = f"{n:5} {queue.name:7}  {_operation(config, one)}"
        lines.append(f"{text}  | {tokens}" if tokens else text)
    return "".join(f"{line}\n" for line in lines)


def _operation(config: Config, one: Instruction) -> str:
    match one:
        case Load(x_size=0) | Store(x_size=0):
            return "NOP"
        case Load():
            place = _chip(one.memory, one.sram_base, one.rows * one.columns)
            pads = f" pads {','.join(map(str, one.pads))}" if any(one.pads) else ""
            return f"LOAD   {place} <- {_dram(config, one)}{pads}"
        case Store():
            place = _chip(Buffer.OUT, one.sram_base, one.y_size * one.x_size)
            return f"STORE  {place} -> {_dram(config, one)}"
        case Gemm(reset=True):
            return f"RESET  {_loops(one)} acc {_pair(one.dst)}"
        case Gemm():
            operands = f"acc {_pair(one.dst)} inp {_pair(one.src)} wgt {_pair(one.wgt)}"
            return f"GEMM   {_loops(one)} {operands}"
        case Alu(immediate=None):
            return f"{one.op.name:6} {_loops(one)} acc {_pair(one.dst)} with acc {_pair(one.src)}"
        case Alu():
            source = "" if one.src == one.dst else f" src {_pair(one.src)}"
            operands = f"acc {_pair(one.dst)} with {one.immediate}{source}"
            return f"{one.op.name:6} {_loops(one)} {operands}"
        case Finish():
            return "FINISH"


def _chip(buffer: Buffer, begin: int, count: int) -> str:
    return f"{buffer.name.lower()}[{begin}..{begin + count - 1}]"


def _dram(config: Config, one: Load | Store) -> str:
    address = one.dram_base * config.element_bytes(buffer_of(one)) % ADDRESS_SPACE
    stride = f" stride {one.x_stride}" if one.y_size > 1 else ""
    return f"dram {address:#x} {one.y_size}x{one.x_size}{stride}"


def _loops(one: Gemm | Alu) -> str:
    begin, end = one.uops
    return f"uops {begin}..{end - 1} loops {one.extents[0]}x{one.extents[1]}"


def _pair(factors: tuple[int, int]) -> str:
    return f"({factors[0]},{factors[1]})"


def _tokens(one: Instruction, queue: Queue) -> str:
    """The flags by the neighbour they concern, `prev` or `next` where there is none."""
    names = {int(other): other.name.lower() for other in Queue}
    before, after = names.get(queue - 1, "prev"), names.get(queue + 1, "next")
    flags = (
        (one.tokens.pop_prev, f"take {before}"),
        (one.tokens.pop_next, f"take {after}"),
        (one.tokens.push_prev, f"give {before}"),
        (one.tokens.push_next, f"give {after}"),
    )
    return ", ".join(text for flag, text in flags if flag)
