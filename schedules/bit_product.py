"""What kernels on bit planes share: operands in words, sums of popcounts, their combination.

    P[i, j] = sum over words of popcount(x_i op w_j)          op is & or ^
    acc = bias + sum over i, j of coefficient[i][j] * P[i, j]

x: uint32 words, bit b of word k of plane i is bit i of channel 32 k + b. Coefficients are integers
and acc int32, or one of them is no integer and acc is float32, in this order of roundings:

    acc = bias; for i: for j: acc = float32(acc + float32(coefficient[i][j] * float32(P[i, j])))
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray
from tvm import te, tirx

from qcompile.schedules.arithmetic import unfused
from qcompile.schedules.byte_counts import MOST_IN_BYTES, byte_counts, byte_sum, byte_total
from qcompile.schedules.popcount import WORD_BITS, Popcount

Number = int | float
Coefficients = tuple[tuple[Number, ...], ...]


@dataclass(frozen=True)
class Planes:
    """How planes of data and weights are multiplied; coefficients[data plane][weight plane]."""

    operation: str  # "and" or "xor"
    coefficients: Coefficients

    def __post_init__(self) -> None:
        assert self.operation in ("and", "xor")
        assert len({len(row) for row in self.coefficients}) == 1

    @property
    def data(self) -> int:
        return len(self.coefficients)

    @property
    def weights(self) -> int:
        return len(self.coefficients[0])

    @property
    def sum_type(self) -> str:
        whole = all(isinstance(c, int) for row in self.coefficients for c in row)
        return "int32" if whole else "float32"

    @property
    def pairs(self) -> int:
        return self.data * self.weights

    @property
    def extents(self) -> tuple[int, int]:
        return self.data, self.weights

    def split(self, row: tirx.Expr) -> tuple[tirx.Expr, tirx.Expr, tirx.Expr]:
        """Row `row` of the sums: the row of the product, its planes of data and of weights."""
        return row // self.pairs, row % self.pairs // self.weights, row % self.weights

    def product(self, x: tirx.Expr, w: tirx.Expr) -> tirx.Expr:
        return x & w if self.operation == "and" else x ^ w


def combined(
    planes: Planes,
    bias: tirx.Expr,
    counts: Callable[[Callable[[tirx.Expr], tirx.Expr]], tirx.Expr],
    unit: int = 1,
) -> tirx.Expr:
    """bias + sum of coefficient / unit * P; counts(pair) is P of the planes of a row and a pair.

    pair adds the planes to a row; unit divides the coefficients, which are integers unless it is 1.

    The planes of a row are neighbouring rows of the sums: an axis of their own, read at constant
    positions, would be no tile that TVM finds for the epilogue.
    """
    total = bias
    for number, coefficient in enumerate(c for row in planes.coefficients for c in row):

        def pair(row: tirx.Expr, number: int = number) -> tirx.Expr:
            return row * planes.pairs + number

        count = counts(pair).astype("int32")
        if planes.sum_type == "int32":
            total = total + count * tirx.const(coefficient // unit, "int32")
        else:
            factor = tirx.const(coefficient, "float32")
            total = total + unfused(count.astype("float32") * factor)
    return total


def popcount_sum(
    popcount: Popcount,
    shape: Sequence[int],
    words: Sequence[tuple[str, int]],
    product: Callable[..., tirx.Expr],
    attrs: dict[str, str],
) -> te.Tensor:
    """Sums over all `words` of the bits of product(*index, *position), of type `sum_type`.

    words: name and extent of each axis of reduction. With counts in bytes these are first added up
    over the last axes, by a block `bytes`.
    """
    if not popcount.in_bytes:
        axes = [te.reduce_axis((0, extent), name) for name, extent in words]

        def bits(*index: tirx.Var) -> tirx.Expr:
            count = tirx.popcount(product(*index, *axes)).astype(popcount.sum_type)
            return te.sum(count, axis=axes)

        return te.compute(shape, bits, name="sums", attrs=attrs)

    names = [name for name, _ in words]
    outer, inner = chunks_of([extent for _, extent in words])

    def in_bytes(*index: tirx.Var) -> tirx.Expr:
        axes = [te.reduce_axis((0, n), name) for n, name in zip(inner, names, strict=True)]
        chunk = index[len(shape) :]
        position = [c * n + axis for c, n, axis in zip(chunk, inner, axes, strict=True)]
        return add_up(byte_counts(product(*index[: len(shape)], *position)), axis=axes)

    add_up = byte_total(popcount.form)
    partial = te.compute((*shape, *outer), in_bytes, name="bytes")
    chunks = [te.reduce_axis((0, n), f"{name}s") for n, name in zip(outer, names, strict=True)]

    def total(*index: tirx.Var) -> tirx.Expr:
        return te.sum(byte_sum(partial(*index, *chunks), popcount.form), axis=chunks)

    return te.compute(shape, total, name="sums", attrs=attrs)


def chunks_of(extents: Sequence[int]) -> tuple[list[int], list[int]]:
    """(how many chunks, words of each) of every axis: the last axes as far as bytes can count."""
    outer: list[int] = []
    inner: list[int] = []
    words = 1
    for extent in reversed(extents):
        size = max(
            n for n in range(1, extent + 1) if extent % n == 0 and n * words <= MOST_IN_BYTES
        )
        words = words * size if size == extent else MOST_IN_BYTES
        outer.insert(0, extent // size)
        inner.insert(0, size)
    return outer, inner


def pack_planes(planes: NDArray[np.bool_ | np.uint8]) -> NDArray[np.uint32]:
    """Bits (..., channels) as words (..., ceil(channels / 32)), filled up with zeros."""
    words = ceil(planes.shape[-1] / WORD_BITS)
    full = np.zeros((*planes.shape[:-1], words * WORD_BITS), "uint8")
    full[..., : planes.shape[-1]] = planes
    return np.packbits(full, axis=-1, bitorder="little").view("uint32")
