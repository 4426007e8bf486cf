"""Instructions and micro-ops as bytes, and back. The place of each field is in `fields`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from qcompile.errors import InvalidEncoding
from qcompile.targets.vta.config import Buffer, Config
from qcompile.targets.vta.fields import OPCODE_BITS, OPCODES, Field, layout, values
from qcompile.targets.vta.instructions import (
    Alu,
    AluOp,
    Finish,
    Gemm,
    Instruction,
    Load,
    Store,
    Tokens,
    Uop,
)

INSTRUCTION_BYTES = 16

Integers = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]


def encode(config: Config, instructions: Sequence[Instruction]) -> bytes:
    """The instruction stream. Raises InvalidEncoding where a value does not fit its field."""
    config.expect_encodable()
    words = np.zeros((len(instructions), 2), "<u8")
    for kind in OPCODES:
        numbers = np.array([n for n, one in enumerate(instructions) if type(one) is kind], int)
        if not numbers.size:
            continue
        table = np.array([values(instructions[n]) for n in numbers], np.int64)
        for field, column in zip(layout(config, kind), table.T, strict=True):
            bad = _misfit(field, column)
            if bad is not None:
                raise InvalidEncoding(
                    f"instruction {numbers[bad]} ({kind.__name__}): {field.name} is "
                    f"{column[bad]}; {_range(field)}"
                )
            bits = column.astype(np.uint64) & np.uint64((1 << field.bits) - 1)
            words[numbers, field.word] |= bits << np.uint64(field.shift)
    return words.tobytes()


def decode(config: Config, data: bytes) -> list[Instruction]:
    """The instructions of a stream. Raises InvalidEncoding where bytes are no instruction."""
    config.expect_encodable()
    if len(data) % INSTRUCTION_BYTES:
        raise InvalidEncoding(
            f"{len(data)} bytes are no whole instructions of {INSTRUCTION_BYTES} bytes"
        )
    words = np.frombuffer(data, "<u8").reshape(-1, 2)
    opcodes = (words[:, 0] & np.uint64((1 << OPCODE_BITS) - 1)).astype(int)
    found: list[Instruction | None] = [None] * len(words)
    for kind, opcode in OPCODES.items():
        numbers = np.flatnonzero(opcodes == opcode)
        columns = [_read(field, words[numbers]) for field in layout(config, kind)]
        for n, *row in zip(numbers.tolist(), *(c.tolist() for c in columns), strict=True):
            found[n] = _MAKERS[kind](n, row[1:])
    for n, one in enumerate(found):
        if one is None:
            raise InvalidEncoding(f"instruction {n}: opcode {opcodes[n]} is none of 0 to 4")
    instructions = [one for one in found if one is not None]
    again = np.frombuffer(encode(config, instructions), "<u8").reshape(-1, 2)
    for n in np.flatnonzero((again != words).any(axis=1)):
        kind_name = type(instructions[n]).__name__
        raise InvalidEncoding(f"instruction {n} ({kind_name}): bits outside its fields are set")
    return instructions


def encode_uops(config: Config, uops: Sequence[Uop] | Integers) -> bytes:
    """Micro-ops as little-endian 32-bit words. uops: (count, 3), dst, src and wgt."""
    config.expect_encodable()
    table = np.asarray(uops, np.int64).reshape(-1, 3)
    words = np.zeros(len(table), np.int64)
    for field, column in zip(uop_layout(config), table.T, strict=True):
        bad = _misfit(field, column)
        if bad is not None:
            raise InvalidEncoding(f"micro-op {bad}: {field.name} is {column[bad]}; {_range(field)}")
        words |= column << field.shift
    return words.astype("<u4").tobytes()


def decode_uops(config: Config, data: bytes) -> list[Uop]:
    return [Uop(*row) for row in uop_table(config, np.frombuffer(data, "<u4")).tolist()]


def uop_table(config: Config, words: npt.NDArray[np.uint32]) -> Integers:
    """(count, 3): dst, src and wgt of each micro-op."""
    fields = [
        (words >> np.uint32(field.shift)) & np.uint32((1 << field.bits) - 1)
        for field in uop_layout(config)
    ]
    return np.stack(fields, axis=1).astype(np.int64)


def uop_layout(config: Config) -> tuple[Field, Field, Field]:
    a, s, w = config.acc_bits, config.src_bits, config.wgt_bits
    return Field("dst", a, 0, 0), Field("src", s, 0, a), Field("wgt", w, 0, a + s)


def _range(field: Field) -> str:
    """What a field holds, in words."""
    bits = field.bits
    low, high = (-(1 << bits >> 1), (1 << bits >> 1) - 1) if field.signed else (0, (1 << bits) - 1)
    return f"its {bits} bits hold {low} to {high}"


def _misfit(field: Field, column: Integers) -> int | None:
    """The first place where a value does not fit the field."""
    shifted = column + (1 << (field.bits - 1)) if field.signed else column
    bad = (shifted < 0) | (shifted >= 1 << field.bits)
    return int(bad.argmax()) if bad.any() else None


def _read(field: Field, words: Words) -> Integers:
    bits = words[:, field.word] >> np.uint64(field.shift)
    numbers = (bits & np.uint64((1 << field.bits) - 1)).astype(np.int64)
    if field.signed:
        numbers = numbers - ((numbers >> (field.bits - 1)) << field.bits)
    return numbers


def _block(row: list[int]) -> tuple[int, int, int, int, int]:
    sram_base, dram_base, y_size, x_size, x_stride = row[5:10]
    return sram_base, dram_base, y_size, x_size, x_stride


def _load(n: int, row: list[int]) -> Load:
    if row[4] > Buffer.ACC:
        raise InvalidEncoding(
            f"instruction {n} (Load): memory type {row[4]}; 0 UOP, 1 WGT, 2 INP and 3 ACC are known"
        )
    y0, y1, x0, x1 = row[10:]
    return Load(Buffer(row[4]), *_block(row), (y0, y1, x0, x1), _tokens(row))


def _store(n: int, row: list[int]) -> Store:
    if row[4] != Buffer.OUT or any(row[10:]):
        raise InvalidEncoding(
            f"instruction {n} (Store): memory type {row[4]}, pads {row[10:]}; "
            "a store takes OUT (4) and no pads"
        )
    return Store(*_block(row), _tokens(row))


def _gemm(_: int, row: list[int]) -> Gemm:
    reset, u0, u1, outer, inner, d0, d1, s0, s1, w0, w1 = row[4:]
    loops = ((u0, u1), (outer, inner), (d0, d1), (s0, s1), (w0, w1))
    return Gemm(*loops, bool(reset), _tokens(row))


def _alu(n: int, row: list[int]) -> Alu:
    reset, u0, u1, outer, inner, d0, d1, s0, s1, op, use_immediate, immediate = row[4:]
    if reset or op > AluOp.MUL:
        raise InvalidEncoding(
            f"instruction {n} (Alu): reset {reset}, opcode {op}; reset is 0, opcodes are 0 to 4"
        )
    loops = ((u0, u1), (outer, inner), (d0, d1), (s0, s1))
    return Alu(AluOp(op), *loops, immediate if use_immediate else None, _tokens(row))


def _finish(_: int, row: list[int]) -> Finish:
    return Finish(_tokens(row))


def _tokens(row: list[int]) -> Tokens:
    return Tokens(*(bool(flag) for flag in row[:4]))


_MAKERS: dict[type[Instruction], Callable[[int, list[int]], Instruction]] = {
    Load: _load,
    Store: _store,
    Gemm: _gemm,
    Alu: _alu,
    Finish: _finish,
}
