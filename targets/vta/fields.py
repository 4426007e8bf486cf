"""The fields of each instruction: order, width, and the place that the packing rule gives them.

Fields are laid out in order from bit 0 of the first 64-bit word; one that does not fit the rest
of the first word starts the second (the VTA instruction set, section 3).
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from qcompile.targets.vta.config import Buffer, Config
from qcompile.targets.vta.instructions import Alu, Finish, Gemm, Instruction, Load, Store

WORD_BITS = 64
OPCODES: dict[type[Instruction], int] = {Load: 0, Store: 1, Gemm: 2, Finish: 3, Alu: 4}
OPCODE_BITS = 3

_HEADER = (
    ("opcode", OPCODE_BITS),
    ("pop_prev", 1),
    ("pop_next", 1),
    ("push_prev", 1),
    ("push_next", 1),
)
_MEMORY = (
    *_HEADER,
    ("memory_type", 3),
    ("sram_base", 16),
    ("dram_base", 32),
    ("y_size", 16),
    ("x_size", 16),
    ("x_stride", 16),
    ("y_pad_0", 4),
    ("y_pad_1", 4),
    ("x_pad_0", 4),
    ("x_pad_1", 4),
)


class Field(NamedTuple):
    """`word` is 2 where the field fits neither word: then the instruction is not encodable."""

    name: str
    bits: int
    word: int
    shift: int

    @property
    def signed(self) -> bool:
        return self.name == "imm"


@lru_cache
def _layout(config: Config, opcode: int) -> tuple[Field, ...]:
    placed, word, shift = [], 0, 0
    for name, bits in _widths(config, opcode):
        if shift + bits > WORD_BITS:
            word, shift = word + 1, 0
        placed.append(Field(name, bits, word, shift))
        shift += bits
    return tuple(placed)


def layout(config: Config, kind: type[Instruction]) -> tuple[Field, ...]:
    """The fields of one kind of instruction, in the order of `values`."""
    return _layout(config, OPCODES[kind])


def _widths(config: Config, opcode: int) -> tuple[tuple[str, int], ...]:
    if opcode in (OPCODES[Load], OPCODES[Store]):
        return _MEMORY
    if opcode == OPCODES[Finish]:
        return _HEADER
    u, a = config.uop_bits, config.acc_bits
    i, w = config.inp_bits, config.wgt_bits
    loops = (("reset", 1), ("uop_bgn", u), ("uop_end", u + 1), ("iter_out", 14), ("iter_in", 14))
    dst = (("dst_factor_out", a), ("dst_factor_in", a))
    if opcode == OPCODES[Alu]:
        src = (("src_factor_out", a), ("src_factor_in", a))
        return (*_HEADER, *loops, *dst, *src, ("alu_opcode", 3), ("use_imm", 1), ("imm", 16))
    src = (("src_factor_out", i), ("src_factor_in", i))
    wgt = (("wgt_factor_out", w), ("wgt_factor_in", w))
    return (*_HEADER, *loops, *dst, *src, *wgt)


def values(one: Instruction) -> tuple[int, ...]:
    """The numbers that stand in the fields of an instruction."""
    t = one.tokens
    header: tuple[int, ...] = (OPCODES[type(one)], t.pop_prev, t.pop_next, t.push_prev, t.push_next)
    match one:
        case Load():
            base: tuple[int, ...] = (one.memory, one.sram_base, one.dram_base)
            return (*header, *base, one.y_size, one.x_size, one.x_stride, *one.pads)
        case Store():
            base = (Buffer.OUT, one.sram_base, one.dram_base)
            return (*header, *base, one.y_size, one.x_size, one.x_stride, 0, 0, 0, 0)
        case Gemm():
            loops: tuple[int, ...] = (one.reset, *one.uops, *one.extents)
            return (*header, *loops, *one.dst, *one.src, *one.wgt)
        case Alu():
            loops = (0, *one.uops, *one.extents, *one.dst, *one.src)
            immediate = one.immediate
            return (*header, *loops, one.op, immediate is not None, immediate or 0)
        case _:
            return header
