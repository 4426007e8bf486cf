"""Standard operators for which TVM's converter is missing, wrong, or leaves no Relax operator."""

import numpy as np
import onnx
from tvm import relax

from qcompile.errors import InvalidModel, Unsupported
from qcompile.frontend.node import (
    Emitter,
    Node,
    Value,
    array_of,
    constant,
    dtype_of,
    shape_of,
)
from qcompile.frontend.qdq import PLAIN_CODES, clip_codes
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
    bounds = [_bound(node, "min", 1), _bound(node, "max", 2)]
    low, high = (None if bound is None else array_of(bound) for bound in bounds)
    constant_bounds = all(bound is None or array_of(bound) is not None for bound in bounds)
    dtype = dtype_of(x.expr)
    if all(bound is None for bound in bounds):
        return x
    if constant_bounds and dtype in PLAIN_CODES:
        info = np.iinfo(dtype)
        lowest = int(info.min if low is None else low)
        return clip_codes(emit, node, lowest, int(info.max if high is None else high))
    if constant_bounds and dtype.startswith("float"):
        least = -np.inf if low is None or np.isnan(low) else float(low)
        most = np.inf if high is None or np.isnan(high) else float(high)
        if least <= most:
            call = relax.op.clip(x.expr, least, most)
            return Value(emit.emit(call, node.name))
    y = x.expr
    for bound, operator in zip(bounds, (relax.op.maximum, relax.op.minimum), strict=True):
        y = y if bound is None else emit.emit(operator(y, bound))
    return Value(y)


def _bound(node: Node, name: str, index: int) -> relax.Expr | None:
    """A bound as a 0-d tensor of the data's type, None when absent."""
    dtype = dtype_of(node.expr(0))
    if node.has(index):
        expr = node.expr(index)
        if shape_of(expr) != () or dtype_of(expr) != dtype:
            raise InvalidModel(f"the bound {name}: {dtype_of(expr)} of shape {shape_of(expr)}")
        return expr
    if name in node.attributes:
        return constant(np.asarray(node.number(name, 0.0), dtype))
    return None
