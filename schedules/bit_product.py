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
from tvm import s_tir, te, tirx
from tvm.s_tir.schedule import LoopRV, SBlockRV

from qcompile.schedules.arithmetic import unfused
from qcompile.schedules.popcount import (
    MOST_IN_BYTES,
    WORD_BITS,
    Popcount,
    byte_counts,
    byte_sum,
)

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
) -> tirx.Expr:
    """bias + sum of coefficient * P; counts(pair) is P of the planes that `pair` adds to a row.

    The planes of a row are neighbouring rows of the sums: an axis of their own, read at constant
    positions, would be no tile that TVM finds for the epilogue.
    """
    total = bias
    for number, coefficient in enumerate(c for row in planes.coefficients for c in row):

        def pair(row: tirx.Expr, number: int = number) -> tirx.Expr:
            return row * planes.pairs + number

        count = counts(pair)
        if planes.sum_type == "int32":
            total = total + count * tirx.const(coefficient, "int32")
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
    """int32 sums over all `words` of the bits of product(*index, *position).

    words: name and extent of each axis of reduction. With counts in bytes these are first added up
    over the last axes, by a block `bytes`.
    """
    if not popcount.in_bytes:
        axes = [te.reduce_axis((0, extent), name) for name, extent in words]

        def bits(*index: tirx.Var) -> tirx.Expr:
            return te.sum(tirx.popcount(product(*index, *axes)).astype("int32"), axis=axes)

        return te.compute(shape, bits, name="sums", attrs=attrs)

    names = [name for name, _ in words]
    outer, inner = _chunks([extent for _, extent in words])

    def in_bytes(*index: tirx.Var) -> tirx.Expr:
        axes = [te.reduce_axis((0, n), name) for n, name in zip(inner, names, strict=True)]
        chunk = index[len(shape) :]
        position = [c * n + axis for c, n, axis in zip(chunk, inner, axes, strict=True)]
        return te.sum(byte_counts(product(*index[: len(shape)], *position)), axis=axes)

    partial = te.compute((*shape, *outer), in_bytes, name="bytes")
    chunks = [te.reduce_axis((0, n), f"{name}s") for n, name in zip(outer, names, strict=True)]

    def total(*index: tirx.Var) -> tirx.Expr:
        return te.sum(byte_sum(partial(*index, *chunks)), axis=chunks)

    return te.compute(shape, total, name="sums", attrs=attrs)


def _chunks(extents: Sequence[int]) -> tuple[list[int], list[int]]:
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


def byte_counts_of(sch: s_tir.Schedule, sums: SBlockRV) -> list[SBlockRV]:
    """The block that counts in bytes, if the sums have one."""
    return [block for block in sch.get_producers(sums) if sch.get(block).name_hint == "bytes"]


def in_registers(rows: Sequence[LoopRV], vectors: LoopRV, lane: LoopRV) -> tuple[LoopRV, ...]:
    """The loops of a tile in order; rows: (row, plane of data, plane of weights)."""
    row, data, weights = rows
    return row, data, vectors, weights, lane


def keep_sums_in_registers(
    sch: s_tir.Schedule,
    sums: SBlockRV,
    counts: Sequence[SBlockRV],
    planes: Planes,
    tile_loops: int,
    scope: str = "local",
) -> None:
    """Unroll the innermost `tile_loops` of the sums, a tile, and start it before the reduction.

    Counts in bytes get loops like it, inside of the loops over chunks.
    """
    words = _reductions(sch, sums)
    for block in counts:
        sch.set_scope(block, 0, "local")
        sch.compute_at(block, sch.get_loops(sums)[-tile_loops - 1], preserve_unit_loops=True)
        loops = sch.get_loops(block)
        tile, position = loops[-2 * words - tile_loops + 2 : -2 * words], loops[-2 * words :]
        *rows, columns, vectors, lane = tile
        columns = sch.split(columns, [None, *planes.extents])
        sch.reorder(*position, *rows, *in_registers(columns, vectors, lane))
        _unroll(sch, block, tile_loops)
    sch.set_scope(sums, 0, scope)
    _unroll(sch, sums, tile_loops)


def _reductions(sch: s_tir.Schedule, block: SBlockRV) -> int:
    kinds = [axis.iter_type for axis in sch.get(block).iter_vars]
    return kinds.count(tirx.IterVar.CommReduce)


def _unroll(sch: s_tir.Schedule, block: SBlockRV, tile_loops: int) -> None:
    loops = sch.get_loops(block)
    first = loops[-tile_loops - _reductions(sch, block)]
    *tile, lane = loops[-tile_loops:]
    sch.vectorize(lane)
    for loop in tile:
        sch.unroll(loop)
    init = sch.decompose_reduction(block, first)
    for loop in sch.get_loops(init)[-tile_loops:-1]:
        sch.unroll(loop)
