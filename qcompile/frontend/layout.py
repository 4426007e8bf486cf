"""Transposes and reshapes, folded into constants.

    transpose(c)                    -> c transposed
    transpose(dequantize(c, s, z))  -> dequantize(c transposed, s, z), with its axis moved

and likewise for reshapes (Reshape, Flatten, Squeeze, Unsqueeze), so that integer weights stay
integer constants right behind their dequantize. A reshape that cuts through the quantization axis
is left as an operator, and so is everything that is no constant.
"""

import math
from typing import Any

import numpy as np
import tvm
from tvm import relax

from qcompile.errors import InvalidModel
from qcompile.frontend.node import (
    Array,
    Emitter,
    Node,
    Value,
    array_of,
    constant,
    normalized_axis,
    shape_of,
)
from qcompile.ops import dequantize
from qcompile.ops.quantize import DEQUANTIZE


def transposed(emit: Emitter, x: relax.Expr, order: list[int], name: str = "") -> relax.Expr:
    """`x` with its axes in `order`."""
    if order == list(range(len(order))):
        return x
    array = array_of(x)
    if array is not None:
        return constant(array.transpose(order))
    call = emit.bound(x, DEQUANTIZE)
    codes = None if call is None else array_of(call.args[0])
    if call is None or codes is None:
        return emit.emit(relax.op.permute_dims(x, order), name)
    axis = order.index(int(call.attrs["axis"]) % codes.ndim)
    return emit.emit(_dequantized_again(call, codes.transpose(order), axis), name)


def reshaped(emit: Emitter, x: relax.Expr, shape: tuple[int, ...], name: str = "") -> relax.Expr:
    """`x` in another shape of as many elements."""
    old = shape_of(x)
    if math.prod(old) != math.prod(shape):
        raise InvalidModel(f"{list(old)} cannot take the shape {list(shape)}")
    if old == shape:
        return x
    array = array_of(x)
    if array is not None:
        return constant(array.reshape(shape))
    call = emit.bound(x, DEQUANTIZE)
    codes = None if call is None else array_of(call.args[0])
    axis = None if call is None else _moved_axis(call, old, shape)
    if call is None or codes is None or axis is None:
        return emit.emit(relax.op.reshape(x, shape), name)
    return emit.emit(_dequantized_again(call, codes.reshape(shape), axis), name)


def _moved_axis(call: tvm.ir.Call, old: tuple[int, ...], new: tuple[int, ...]) -> int | None:
    """Where the quantization axis goes, None when it does not survive; 0 when there is none."""
    if all(math.prod(shape_of(parameter)) == 1 for parameter in call.args[1:3]):
        return 0
    axis = int(call.attrs["axis"]) % len(old)
    before = math.prod(old[:axis])
    for candidate, extent in enumerate(new):
        if extent == old[axis] and math.prod(new[:candidate]) == before:
            return candidate
    return None


def _dequantized_again(call: tvm.ir.Call, codes: Array, axis: int) -> tvm.ir.Call:
    attributes: dict[str, Any] = {name: bool(call.attrs[name]) for name in ("signed", "narrow")}
    attributes |= {"axis": axis, "bits": int(call.attrs["bits"])}
    return dequantize(constant(codes), *call.args[1:3], **attributes)


def transpose(emit: Emitter, node: Node) -> Value:
    x = node.value(0)
    rank = len(shape_of(x.expr))
    order = node.integers("perm", list(reversed(range(rank))))
    if sorted(order) != list(range(rank)):
        raise InvalidModel(f"perm {order} does not order the axes of a tensor of rank {rank}")
    return Value(transposed(emit, x.expr, order, node.name), x.codes)


def reshape(emit: Emitter, node: Node) -> Value:
    x = node.value(0)
    target = node.array(1, "the shape").reshape(-1).tolist()
    old = shape_of(x.expr)
    if not node.integer("allowzero", 0):
        if any(extent == 0 and i >= len(old) for i, extent in enumerate(target)):
            raise InvalidModel(f"shape {target} copies a dimension that {list(old)} has not")
        target = [old[i] if extent == 0 else extent for i, extent in enumerate(target)]
    if target.count(-1) > 1 or any(extent < -1 for extent in target):
        raise InvalidModel(f"shape {target} is no shape")
    if -1 in target:
        rest = math.prod(extent for extent in target if extent != -1)
        if rest == 0 or math.prod(old) % rest:
            raise InvalidModel(f"{list(old)} cannot take the shape {target}")
        target[target.index(-1)] = math.prod(old) // rest
    return Value(reshaped(emit, x.expr, tuple(target), node.name), x.codes)


def flatten(emit: Emitter, node: Node) -> Value:
    x = node.value(0)
    shape = shape_of(x.expr)
    axis = node.integer("axis", 1)
    if not -len(shape) <= axis <= len(shape):
        raise InvalidModel(f"axis {axis} does not exist in a tensor of rank {len(shape)}")
    axis += len(shape) if axis < 0 else 0
    rows, columns = math.prod(shape[:axis]), math.prod(shape[axis:])
    return Value(reshaped(emit, x.expr, (rows, columns), node.name), x.codes)


def _axes(node: Node, rank: int) -> list[int] | None:
    """The axes of Squeeze and Unsqueeze: an attribute up to opset 12, then an input."""
    if node.has(1):
        axes = node.array(1, "the list of axes").reshape(-1).tolist()
    elif "axes" in node.attributes:
        axes = node.integers("axes", [])
    else:
        return None
    axes = [normalized_axis(int(axis), rank) for axis in axes]
    if len(set(axes)) != len(axes):
        raise InvalidModel(f"axes {axes} repeat")
    return axes


def squeeze(emit: Emitter, node: Node) -> Value:
    x = node.value(0)
    shape = shape_of(x.expr)
    axes = _axes(node, len(shape))
    if axes is None:
        axes = [i for i, extent in enumerate(shape) if extent == 1]
    if any(shape[axis] != 1 for axis in axes):
        raise InvalidModel(f"axes {axes} of {list(shape)} are not all 1")
    kept = tuple(extent for i, extent in enumerate(shape) if i not in axes)
    return Value(reshaped(emit, x.expr, kept, node.name), x.codes)


def unsqueeze(emit: Emitter, node: Node) -> Value:
    x = node.value(0)
    shape = list(shape_of(x.expr))
    given = node.array(1, "the list of axes") if node.has(1) else node.integers("axes", [])
    axes = _axes(node, len(shape) + int(np.size(given)))
    if axes is None:
        raise InvalidModel("the list of axes is missing")
    for axis in sorted(axes):
        shape.insert(axis, 1)
    return Value(reshaped(emit, x.expr, tuple(shape), node.name), x.codes)


def identity(_: Emitter, node: Node) -> Value:
    return node.value(0)
