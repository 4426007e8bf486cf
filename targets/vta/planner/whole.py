"""Operations on dense ranges of ACC elements, one instruction each."""

from __future__ import annotations

import numpy as np

from qcompile.targets.vta.builder import Builder, UopBlock
from qcompile.targets.vta.instructions import AluOp

LARGEST_LEFT_SHIFT = 16  # of one portable SHR
LARGEST_RIGHT_SHIFT = 15


def clear(builder: Builder, base: int, count: int) -> None:
    builder.gemm(_uops(base, 0), (1, count), (0, 1), reset=True)


def immediate(builder: Builder, op: AluOp, base: int, count: int, value: int) -> None:
    builder.alu(op, _uops(base, base), (1, count), (0, 1), immediate=value)


def add(builder: Builder, base: int, other: int, count: int) -> None:
    """Adds another range, which does not overlap."""
    builder.alu(AluOp.ADD, _uops(base, other), (1, count), (0, 1), (0, 1))


def shift_left(builder: Builder, base: int, count: int, by: int) -> None:
    for part in parts_of(by, LARGEST_LEFT_SHIFT):
        immediate(builder, AluOp.SHR, base, count, -part)


def shift_right(builder: Builder, base: int, count: int, by: int) -> None:
    """Rounds toward minus infinity."""
    for part in parts_of(by, LARGEST_RIGHT_SHIFT):
        immediate(builder, AluOp.SHR, base, count, part)


def next_plane(builder: Builder, base: int, count: int, width: int, rounded: bool) -> None:
    """Drops the lowest `width` bits: of a signed digit (rounded), or of plain bits."""
    if rounded:
        immediate(builder, AluOp.ADD, base, count, 1 << (width - 1))
    shift_right(builder, base, count, width)


def parts_of(shift: int, most: int) -> list[int]:
    """A shift as shifts that one instruction can do."""
    return [min(most, shift - done) for done in range(0, shift, most)]


def _uops(dst: int, src: int) -> UopBlock:
    return np.array([[dst, src, 0]], np.int64)
