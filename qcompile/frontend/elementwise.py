"""Standard operators for which TVM's converter is missing, wrong, or leaves no Relax operator."""

import numpy as np
import onnx
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
    shape_of,
)
from qcompile.frontend.qdq import clip_codes
from qcompile.frontend.tensors import to_array


def constant_node(_: Emitter, node: Node) -> Value:
    """The value of Constant, whichever attribute holds it."""
    if "value" in node.attributes:
        tensor = node.attributes["value"]
        if not isinstance(tensor, onnx.TensorProto):
            raise InvalidModel("its value is no tensor")
        array, codes = to_array(tensor)
        return Value(constant(array), codes)
    types = {"value_float": "float32", "value_floats": "float32"}
    types |= {"value_int": "int64", "value_ints": "int64"}
    for name, dtype in types.items():
        if name in node.attributes:
            return Value(constant(np.asarray(node.attributes[name], dtype)))
    raise Unsupported(f"a constant given as {', '.join(node.attributes) or 'nothing'}")


def shape(_: Emitter, node: Node) -> Value:
    extents = shape_of(node.expr(0))
    first, last = node.integer("start", 0), node.integer("end", len(extents))
    return Value(constant(np.asarray(extents[slice(first, last)], "int64")))


def size(_: Emitter, node: Node) -> Value:
    return Value(constant(np.asarray(np.prod(shape_of(node.expr(0)), dtype="int64"))))


def dropout(emit: Emitter, node: Node) -> list[relax.Expr | Value]:
    """The data; the mask of inference is all true."""
    training = node.array(2, "training_mode") if node.has(2) else np.zeros(1)
    if training.any():
        raise Unsupported("training_mode; only inference works")
    x = node.value(0)
    if len(node.outputs) < 2 or not node.outputs[1]:
        return [x]
    dtype = "bool" if node.opset >= 10 else dtype_of(x.expr)
    return [x, emit.emit(relax.op.ones(shape_of(x.expr), dtype))]


def clip(emit: Emitter, node: Node) -> Value:
    """Clip, with its bounds as attributes (up to opset 10) or inputs."""
    x = node.value(0)
    low, high = _bound(node, "min", 1), _bound(node, "max", 2)
    if low is None and high is None:
        return x
    if dtype_of(x.expr) in ("int8", "uint8", "int16", "uint16"):
        info = np.iinfo(dtype_of(x.expr))
        lowest = int(info.min if low is None else low)
        return clip_codes(emit, node, lowest, int(info.max if high is None else high))
    y = x.expr
    if dtype_of(y).startswith("float"):
        numbers = [-np.inf if low is None else low, np.inf if high is None else high]
        if numbers[0] <= numbers[1]:
            return Value(emit.emit(relax.op.clip(y, *map(float, numbers)), node.name))
    if low is not None:
        y = emit.emit(relax.op.maximum(y, constant(low.astype(dtype_of(y)))))
    if high is not None:
        y = emit.emit(relax.op.minimum(y, constant(high.astype(dtype_of(y)))), node.name)
    return Value(y)


def _bound(node: Node, name: str, index: int) -> Array | None:
    """A bound as a 0-d array, None when absent or NaN."""
    if node.has(index):
        array = array_of(node.expr(index))
        if array is None:
            raise Unsupported(f"the bound {name} is computed at run time; only a constant works")
    elif name in node.attributes:
        array = np.asarray(node.number(name, 0.0), "float32")
    else:
        return None
    if array.size != 1:
        raise InvalidModel(f"the bound {name} has {array.size} values")
    return None if np.isnan(array).any() else array.reshape(())
