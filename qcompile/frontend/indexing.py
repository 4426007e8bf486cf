"""Gather and scatter with indices that stay inside of the data.

ONNX counts negative indices from the back and calls indices beyond the extent an error. Constant
indices are checked here; computed ones are clipped, because a compiled network must not read or
write beyond its tensors whatever its inputs are.
"""

from dataclasses import replace

import numpy as np
from tvm import relax

from qcompile.errors import InvalidModel, Unsupported
from qcompile.frontend.node import (
    Array,
    Emitter,
    Node,
    Value,
    array_of,
    constant,
    dtype_of,
    normalized_axis,
    shape_of,
)
from qcompile.frontend.stock import stock


def _bounded(emit: Emitter, indices: relax.Expr, extents: Array) -> relax.Expr:
    """`indices` in 0..extents - 1; extents (int64) broadcast to them."""
    if dtype_of(indices) not in ("int32", "int64"):
        raise InvalidModel(f"indices of type {dtype_of(indices)}")
    extents = extents.astype(dtype_of(indices))
    array = array_of(indices)
    if array is not None:
        if ((array < -extents) | (array >= extents)).any():
            raise InvalidModel(f"an index lies outside of the data of extent {extents.tolist()}")
        return constant(np.where(array < 0, array + extents, array).astype(array.dtype))
    nought = relax.const(0, dtype_of(indices))
    negative = emit.emit(relax.op.less(indices, nought))
    from_back = emit.emit(relax.op.add(indices, constant(extents)))
    indices = emit.emit(relax.op.where(negative, from_back, indices))
    indices = emit.emit(relax.op.maximum(indices, nought))
    return emit.emit(relax.op.minimum(indices, constant(extents - 1)))


def _along(node: Node) -> tuple[int, Array]:
    """The axis, and its extent."""
    shape = shape_of(node.expr(0))
    axis = normalized_axis(node.integer("axis", 0), len(shape))
    return axis, np.asarray(shape[axis], "int64")


def gather(emit: Emitter, node: Node) -> Value:
    axis, extent = _along(node)
    indices = _bounded(emit, node.expr(1), extent)
    taken = relax.op.take(node.expr(0), indices, axis)
    return Value(emit.emit(taken, node.name), node.value(0).codes)


def along_axis(emit: Emitter, node: Node) -> relax.Expr:
    """GatherElements, ScatterElements, Scatter: one index along `axis` for each element."""
    _, extent = _along(node)
    return _with_indices(emit, node, extent)


def by_coordinates(emit: Emitter, node: Node) -> relax.Expr:
    """GatherND, ScatterND: the last axis of the indices holds coordinates."""
    shape, coordinates = shape_of(node.expr(0)), shape_of(node.expr(1))
    first = node.integer("batch_dims", 0)
    count = coordinates[-1] if coordinates else 0
    if not 0 <= first <= first + count <= len(shape) or not count:
        raise InvalidModel(f"indices of shape {list(coordinates)} for data {list(shape)}")
    return _with_indices(emit, node, np.asarray(shape[first : first + count], "int64"))


def _with_indices(emit: Emitter, node: Node, extents: Array) -> relax.Expr:
    if node.text("reduction", "none") not in ("none", "add", "mul", "max", "min"):
        raise Unsupported(f"the reduction {node.text('reduction', 'none')}")
    indices = Value(_bounded(emit, node.expr(1), extents))
    return stock(emit, replace(node, inputs=(node.inputs[0], indices, *node.inputs[2:])))
