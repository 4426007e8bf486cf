"""What one layer asks of the accelerator, without the values of its weights.

Layers with equal problems have equal plans. Fields are JSON's values, as records want them.
"""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from qcompile.schedules.space import frozen
from qcompile.targets.vta.layers import Integers, Pads

Pattern = npt.NDArray[np.int32]  # (digits, O blocks, KH, KW, C blocks): which weights; -1: zeros


@dataclass(frozen=True)
class Operand:
    """One source. shape: (H, W, C). tensor: sources with the same number read the same tensor.

    digits: of the weights, planes: of the tensor. pattern: which blocks of weights are equal or
    zero, as `pattern_text` writes it; "" where none are.
    """

    shape: tuple[int, int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    padding: Pads
    dilation: tuple[int, int]
    tensor: int
    digits: int
    planes: int
    pattern: str


@dataclass(frozen=True)
class SumsProblem:
    """A layer of sums. output: (N, H, W, O).

    start_vector, shift_vector: whether these differ by channel; else they are immediates. The part
    of the shift that all channels have is of `shift_parts` instructions.
    row_classes, column_classes: where rows and columns of equal borders begin.
    starts_over: whether sums may begin at max(start, what the last tile left).
    limits: whether values may be below the lowest, above the highest one.
    planes: of the output; rounded: whether they are signed digits.
    lifted: whether sums are shifted left before their start is added.
    terms: of each multiple of the sums that is added: whether its shift, from the one before, is a
    vector. zero_added: whether a zero point is added after the last shift.
    """

    output: tuple[int, int, int, int]
    operands: tuple[Operand, ...]
    start_vector: bool
    row_classes: tuple[int, ...]
    column_classes: tuple[int, ...]
    starts_over: bool
    shift_vector: bool
    shift_parts: int
    limits: tuple[bool, bool]
    planes: int
    rounded: bool
    lifted: bool = False
    terms: tuple[bool, ...] = ()
    zero_added: bool = False

    @property
    def in_digits(self) -> bool:
        """Whether sums are built digit by digit."""
        return any(operand.digits > 1 or operand.planes > 1 for operand in self.operands)

    @property
    def from_zero(self) -> bool:
        """Whether sums begin at zero, and their start is added at last: it is not shifted."""
        return self.in_digits or self.lifted


@dataclass(frozen=True)
class Immediates:
    """The numbers in the instructions of a layer of sums; they make no difference to its plan.

    start: 0 where it is a vector. least_start: the least that a sum begins with; left: the most
    that a tile leaves. low, high: the limits, where values may be outside. terms: shifts, each from
    the one before, 0 where they are vectors. zero_out: 0 where it is in the start.
    """

    start: int
    least_start: int
    left: int
    shift: int
    low: int
    high: int
    lift: int = 0
    terms: tuple[int, ...] = ()
    zero_out: int = 0


@dataclass(frozen=True)
class PoolProblem:
    """A max pooling. shape: (H, W, C) before; values lie in lowest..highest, in so many planes."""

    output: tuple[int, int, int, int]
    shape: tuple[int, int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    padding: Pads
    lowest: int
    highest: int
    planes: int


Problem = SumsProblem | PoolProblem
KINDS: dict[type[Problem], str] = {SumsProblem: "sums", PoolProblem: "max_pool"}


def problem_text(problem: Problem) -> str:
    """The problem as JSON: equal problems, equal text."""
    return json.dumps({"kind": KINDS[type(problem)], **asdict(problem)}, sort_keys=True)


def problem_from(text: str) -> Problem:
    """The problem of a text of `problem_text`."""
    fields = {name: frozen(value) for name, value in json.loads(text).items()}
    if fields.pop("kind") == KINDS[PoolProblem]:
        return PoolProblem(**fields)
    operands = [
        Operand(**{name: frozen(value) for name, value in each.items()})
        for each in fields.pop("operands")
    ]
    return SumsProblem(operands=tuple(operands), **fields)


def pattern_of(blocks: Integers) -> Pattern:
    """Equal blocks have equal numbers, blocks of zeros -1. blocks: (digits, O, KH, KW, C, ...)."""
    flat = np.ascontiguousarray(blocks.reshape(*blocks.shape[:5], -1).astype(np.int8))
    numbers: dict[bytes, int] = {bytes(flat.shape[-1]): -1}
    rows = flat.reshape(-1, flat.shape[-1])
    found = [numbers.setdefault(row.tobytes(), len(numbers) - 1) for row in rows]
    return np.array(found, np.int32).reshape(flat.shape[:5])


def pattern_text(pattern: Pattern) -> str:
    """The pattern in letters, or nothing where all blocks differ."""
    if (pattern.reshape(-1) == np.arange(pattern.size)).all():
        return ""
    packed = zlib.compress(pattern.astype("<i4").tobytes(), 9)
    return base64.b85encode(packed).decode()


@lru_cache(maxsize=256)
def pattern_from(operand: Operand, outputs: int, block: int) -> Pattern:
    """The pattern of a source of a layer with so many output channels."""
    o, c = -(-outputs // block), -(-operand.shape[2] // block)
    shape = (operand.digits, o, *operand.kernel, c)
    if not operand.pattern:
        return np.arange(int(np.prod(shape)), dtype=np.int32).reshape(shape)
    data = zlib.decompress(base64.b85decode(operand.pattern))
    return np.frombuffer(data, "<i4").reshape(shape)
