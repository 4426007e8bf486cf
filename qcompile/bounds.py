"""The lowest and the highest sums that an integer operator can make of any codes."""

from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax

from qcompile.ops.contractions import BATCH_MATMUL, CONV2D, DENSE
from qcompile.ops.pool import SUM_POOL2D
from qcompile.passes.facts import array_of
from qcompile.passes.rewriter import dtype_of, operator_name, shape_of

Bounds = NDArray[np.int64]  # (2, O): the lowest and the highest sum of each output channel


def bounded(
    call: tvm.ir.Call, weight_zero: NDArray[np.int64] | None
) -> tuple[tuple[int, int], Bounds] | None:
    """The lowest and highest code of the data, and the bounds; None for other operators.

    weight_zero: (O,) is taken off the weights.
    """
    operator = operator_name(call)
    if operator in (CONV2D, DENSE):
        return _codes(call, "codes", "a_bits"), _contraction(call, weight_zero)
    if operator == BATCH_MATMUL:
        return _codes(call, "codes_a", "a_bits"), _product(call)
    if operator == SUM_POOL2D:
        return _every_code(call.args[0]), _pool(call)
    return None


def _codes(call: tvm.ir.Call, lattice: str, width: str) -> tuple[int, int]:
    """The lowest and the highest code of data: (low, step) and its bits are attributes."""
    low, step = (int(value) for value in call.attrs[lattice])
    bits = int(call.attrs[width])
    if step > 1:
        return low, low + step * (2**bits - 1)
    # Codes that start below zero are signed, narrow or not: both end at the same code.
    return low, (2 ** (bits - 1) if low < 0 else 2**bits) - 1


def _every_code(data: relax.Expr) -> tuple[int, int]:
    return (-128, 127) if dtype_of(data) == "int8" else (0, 255)


def _contraction(call: tvm.ir.Call, weight_zero: NDArray[np.int64] | None) -> Bounds:
    """Of a convolution or a product with constant weights."""
    weights, bias = (array_of(argument).astype("int64") for argument in call.args[1:3])
    if weight_zero is not None:
        weights = weights - weight_zero.reshape(-1, *[1] * (weights.ndim - 1))
    zero = int(call.attrs["zero_point"])
    ends = np.stack([weights * (code - zero) for code in _codes(call, "codes", "a_bits")])
    least, most = ends.min(axis=0).sum(axis=-1), ends.max(axis=0).sum(axis=-1)
    if operator_name(call) == DENSE:
        return np.stack([least, most]) + bias
    return _window_sums(least, most, _insides(call, weights.shape[1:3])) + bias


def _insides(call: tvm.ir.Call, kernel: tuple[int, ...]) -> list[tuple[Any, Any]]:
    """Rows and columns of the window inside the image, for every kind of place in the result."""
    strides, pads, dilation = (
        [int(value) for value in call.attrs[key]] for key in ("strides", "padding", "dilation")
    )
    sides = []
    for axis in (0, 1):
        starts = np.arange(shape_of(call)[axis + 1]) * strides[axis] - pads[axis]
        taps = starts[:, None] + np.arange(kernel[axis]) * dilation[axis]
        inside = (taps >= 0) & (taps < shape_of(call.args[0])[axis + 1])
        sides.append([np.flatnonzero(row) for row in np.unique(inside, axis=0)])
    return [(rows, columns) for rows in sides[0] for columns in sides[1]]


def _product(call: tvm.ir.Call) -> Bounds:
    """Of a product of two computed matrices; b may have any codes that its w_bits hold."""
    zeros = (int(call.attrs["zero_a"]), int(call.attrs["zero_b"]))
    left, right = _codes(call, "codes_a", "a_bits"), _codes(call, "codes_b", "w_bits")
    corners = [(a - zeros[0]) * (b - zeros[1]) for a in left for b in right]
    depth = shape_of(call.args[0])[-1]
    return np.array([[min(corners)], [max(corners)]], "int64") * depth


def _pool(call: tvm.ir.Call) -> Bounds:
    kernel = tuple(int(extent) for extent in call.attrs["kernel"])
    least, most = (
        np.full((1, *kernel), code - int(call.attrs["zero_point"]), "int64")
        for code in _every_code(call.args[0])
    )
    return _window_sums(least, most, _insides(call, kernel))


def _window_sums(
    least: NDArray[np.int64], most: NDArray[np.int64], inside: list[tuple[Any, Any]]
) -> Bounds:
    """Bounds of sums over windows. least, most: (O, KH, KW), of each position's summand.

    inside: the rows and columns of the window that lie inside the image, for each kind of place.
    """
    sums = [
        (least[:, rows][:, :, columns].sum((1, 2)), most[:, rows][:, :, columns].sum((1, 2)))
        for rows, columns in inside
    ]
    return np.stack([np.min([s[0] for s in sums], 0), np.max([s[1] for s in sums], 0)])
