"""Blocked scales: one scale for every `block` neighbours along an axis.

The codes are laid out as one row per block, dequantized row by row, and put back:

    q (..., n * block, ...)  -> codes (rows, block), one row per scale
    qcompile.dequantize(codes, s (rows,), z (rows,), axis=0)
    reshape, permute_dims (unless the axis is the last), reshape

so that scales and codes stay what they are and every value is exactly (q - z) * s. Constant codes
are rearranged here, a last incomplete block is padded with zeros and cut off behind
(strided_slice). A single block along the axis is per-channel quantization when the scales run
along one other axis at most. ONNX DequantizeLinear (block_size), opset 21.
"""

import math
from dataclasses import dataclass

import numpy as np
from tvm import relax

from qcompile.errors import InvalidModel, Unsupported
from qcompile.frontend.layout import reshaped, transposed
from qcompile.frontend.node import (
    Array,
    Codes,
    Emitter,
    Node,
    array_of,
    constant,
    normalized_axis,
)
from qcompile.ops import dequantize, quantize


@dataclass(frozen=True)
class Grouping:
    """A tensor of `shape`, cut along `axis` into `count` blocks; the last may be incomplete."""

    shape: tuple[int, ...]
    axis: int
    block: int

    @property
    def count(self) -> int:
        return math.ceil(self.shape[self.axis] / self.block)

    @property
    def padded(self) -> tuple[int, ...]:
        return self._with(self.count * self.block)

    @property
    def split(self) -> tuple[int, ...]:
        return self._with(self.count, self.block)

    @property
    def block_last(self) -> list[int]:
        """The order of the axes of `split` that takes the block's axis to the end."""
        order = list(range(len(self.split)))
        return [axis for axis in order if axis != self.axis + 1] + [self.axis + 1]

    def _with(self, *extents: int) -> tuple[int, ...]:
        return (*self.shape[: self.axis], *extents, *self.shape[self.axis + 1 :])


def grouping(node: Node, shape: tuple[int, ...], scales: tuple[int, ...]) -> Grouping:
    """How the node's block_size cuts `shape`. Raises InvalidModel when the scales do not fit."""
    axis = normalized_axis(node.integer("axis", 1), len(shape))
    block = node.integer("block_size", 0)
    if block <= 0:
        raise InvalidModel(f"scales of shape {list(scales)} need a block_size above 0")
    result = Grouping(shape, axis, block)
    expected = (*shape[:axis], result.count, *shape[axis + 1 :])
    if scales != expected and math.prod(expected) != math.prod(scales):
        raise InvalidModel(
            f"scales of shape {list(scales)}; blocks of {block} along axis {axis} of "
            f"{list(shape)} need {list(expected)}"
        )
    return result


def dequantize_blocks(
    emit: Emitter, q: relax.Expr, scale: Array, zero: Array, grouping: Grouping, codes: Codes
) -> relax.Expr:
    """float32 of the shape of `q`; scale and zero have one entry per block."""
    if (axis := _only_axis(scale, grouping)) is not None:
        parameters = constant(scale.reshape(-1)), constant(zero.reshape(-1))
        return dequantize(q, *parameters, axis=axis, **codes.attributes)
    rows = _rows(emit, q, grouping)
    parameters = constant(scale.reshape(-1)), constant(zero.reshape(-1))
    values = emit.emit(dequantize(rows, *parameters, axis=0, **codes.attributes))
    return _back(emit, values, grouping)


def quantize_blocks(
    emit: Emitter, x: relax.Expr, scale: Array, zero: Array, grouping: Grouping, codes: Codes
) -> relax.Expr:
    """The codes of `x`; scale and zero have one entry per block."""
    rows = _rows(emit, x, grouping)
    parameters = constant(scale.reshape(-1)), constant(zero.reshape(-1))
    return _back(emit, emit.emit(quantize(rows, *parameters, axis=0, **codes.attributes)), grouping)


def _only_axis(scale: Array, grouping: Grouping) -> int | None:
    """The one axis that the scales run along, when each row of it is a single block."""
    if grouping.count > 1 or scale.shape != grouping._with(1):
        return None
    long = [axis for axis, extent in enumerate(scale.shape) if extent > 1]
    if len(long) > 1:
        return None
    return long[0] if long else 0


def _rows(emit: Emitter, x: relax.Expr, grouping: Grouping) -> relax.Expr:
    """`x` as one row per block: (blocks, block)."""
    if grouping.padded != grouping.shape:
        array = array_of(x)
        if array is None:
            raise Unsupported(
                f"blocks of {grouping.block} do not divide axis {grouping.axis} of "
                f"{list(grouping.shape)}; for data computed at run time they have to"
            )
        missing = zip(grouping.padded, grouping.shape, strict=True)
        x = constant(np.pad(array, [(0, padded - extent) for padded, extent in missing]))
    split = reshaped(emit, x, grouping.split)
    last = transposed(emit, split, grouping.block_last)
    return reshaped(emit, last, (math.prod(grouping.split) // grouping.block, grouping.block))


def _back(emit: Emitter, rows: relax.Expr, grouping: Grouping) -> relax.Expr:
    order = grouping.block_last
    last = reshaped(emit, rows, tuple(grouping.split[axis] for axis in order))
    split = transposed(emit, last, [order.index(axis) for axis in range(len(order))])
    padded = reshaped(emit, split, grouping.padded)
    if grouping.padded == grouping.shape:
        return padded
    end = [grouping.shape[grouping.axis]]
    return emit.emit(relax.op.strided_slice(padded, [grouping.axis], [0], end))
