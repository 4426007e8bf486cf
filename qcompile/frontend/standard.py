"""Standard operators for which TVM's converter is right only in part.

Each either refuses what TVM would get wrong and hands the rest on, or emits the operators itself.
"""

import numpy as np
from tvm import relax

from qcompile.errors import InvalidModel, Unsupported
from qcompile.frontend.folding import MAX_FOLDED
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
from qcompile.frontend.tensors import CAST_TYPES, PLAIN_TYPES, type_name

INTEGER_POWERS = (1, 2, 3)


def batch_normalization(emit: Emitter, node: Node) -> relax.Expr:
    if node.integer("training_mode", 0) or any(node.outputs[1:]):
        raise Unsupported("training_mode; only inference works")
    return stock(emit, node)


def layer_normalization(emit: Emitter, node: Node) -> relax.Expr:
    """The normalized data, over the axes from `axis` on."""
    if any(node.outputs[1:]):
        raise Unsupported("the mean and deviation as results; only the normalized data works")
    shape = shape_of(node.expr(0))
    axis = normalized_axis(node.integer("axis", -1), len(shape))
    scale = _over(emit, node.expr(1), shape[axis:])
    if node.has(2):
        bias = _over(emit, node.expr(2), shape[axis:])
    else:
        bias = constant(np.zeros(shape[axis:], dtype_of(scale)))
    axes = list(range(axis, len(shape)))
    epsilon = node.number("epsilon", 1e-5)
    return emit.emit(relax.op.nn.layer_norm(node.expr(0), scale, bias, axes, epsilon), node.name)


def _over(emit: Emitter, x: relax.Expr, shape: tuple[int, ...]) -> relax.Expr:
    """`x`, broadcast to `shape`."""
    if shape_of(x) == shape:
        return x
    array = array_of(x)
    if array is None:
        return emit.emit(relax.op.broadcast_to(x, shape))
    return constant(np.broadcast_to(array, shape))


def rms_normalization(emit: Emitter, node: Node) -> relax.Expr:
    """x / sqrt(mean(x^2) + epsilon) * scale, over the axes from `axis` on."""
    x = node.expr(0)
    rank = len(shape_of(x))
    axes = list(range(normalized_axis(node.integer("axis", -1), rank), rank))
    epsilon = relax.const(node.number("epsilon", 1e-5), dtype_of(x))
    square = emit.emit(relax.op.mean(emit.emit(relax.op.multiply(x, x)), axes, keepdims=True))
    root = emit.emit(relax.op.sqrt(emit.emit(relax.op.add(square, epsilon))))
    y = emit.emit(relax.op.divide(x, root))
    return emit.emit(relax.op.multiply(y, node.expr(1)), node.name)


def is_infinite(emit: Emitter, node: Node) -> relax.Expr:
    x = node.expr(0)
    infinite = emit.emit(relax.op.isinf(x))
    nought = relax.const(0, dtype_of(x))
    if not node.integer("detect_negative", 1):
        positive = emit.emit(relax.op.greater(x, nought))
        infinite = emit.emit(relax.op.logical_and(infinite, positive))
    if not node.integer("detect_positive", 1):
        negative = emit.emit(relax.op.less(x, nought))
        infinite = emit.emit(relax.op.logical_and(infinite, negative))
    return infinite


def power(emit: Emitter, node: Node) -> relax.Expr:
    """x to the power of y in the type of x; small whole constants become products."""
    x, y = node.expr(0), node.expr(1)
    exponent = array_of(y)
    if exponent is not None and exponent.size == 1 and len(exponent.shape) <= len(shape_of(x)):
        whole = float(exponent.reshape(()))
        if whole in INTEGER_POWERS:
            result = x
            for _ in range(int(whole) - 1):
                result = emit.emit(relax.op.multiply(result, x))
            return result
    if not dtype_of(x).startswith("float"):
        raise Unsupported(f"a power of {dtype_of(x)} data; integers work to the power of 1, 2, 3")
    if dtype_of(y) != dtype_of(x):
        y = emit.emit(relax.op.astype(y, dtype_of(x)))
    return emit.emit(relax.op.power(x, y), node.name)


def eye_like(_: Emitter, node: Node) -> Value:
    shape = shape_of(node.expr(0))
    if len(shape) != 2:
        raise InvalidModel(f"a unit matrix of shape {list(shape)}")
    wanted = node.integer("dtype", 0)
    dtype = PLAIN_TYPES.get(wanted, dtype_of(node.expr(0)))
    return Value(constant(np.eye(*shape, k=node.integer("k", 0), dtype=dtype)))


def cast(emit: Emitter, node: Node) -> relax.Expr:
    wanted = node.integer("to", 0)
    if wanted not in PLAIN_TYPES and wanted not in CAST_TYPES:
        raise Unsupported(f"a cast to {type_name(wanted)}")
    if PLAIN_TYPES.get(wanted) == dtype_of(node.expr(0)):
        return node.expr(0)
    return stock(emit, node)


def space_to_depth(emit: Emitter, node: Node) -> relax.Expr:
    if node.text("mode", "DCR") != "DCR":
        raise Unsupported(f"the mode {node.text('mode', 'DCR')}; DCR works")
    return stock(emit, node)


def roi_align(emit: Emitter, node: Node) -> relax.Expr:
    if node.text("mode", "avg") != "avg":
        raise Unsupported(f"the mode {node.text('mode', 'avg')}; avg works")
    return stock(emit, node)


def one_hot(emit: Emitter, node: Node) -> relax.Expr:
    """Ones along a new axis where the index is, counted from the back when negative."""
    indices = node.expr(0)
    depth = int(node.array(1, "the depth").reshape(-1)[:1].sum())
    rank = len(shape_of(indices)) + 1
    axis = normalized_axis(node.integer("axis", -1), rank)
    values = node.array(2, "the off and on values").reshape(-1)
    if not 1 <= depth <= MAX_FOLDED or values.size != 2:
        raise InvalidModel(f"a depth of {depth} with {values.size} values")
    index = emit.emit(relax.op.astype(indices, "int64"))
    shape = tuple(depth if i == axis else 1 for i in range(rank))
    index = emit.emit(relax.op.expand_dims(index, axis))
    places = np.arange(depth, dtype="int64").reshape(shape)
    here = emit.emit(relax.op.equal(index, constant(places)))
    from_back = emit.emit(relax.op.equal(index, constant(places - depth)))
    here = emit.emit(relax.op.logical_or(here, from_back))
    off, on = (constant(value.reshape(())) for value in values)
    return emit.emit(relax.op.where(here, on, off), node.name)


def concat(emit: Emitter, node: Node) -> Value | relax.Expr:
    """Concat; empty parts are left out."""
    if "axis" not in node.attributes:
        raise InvalidModel("the attribute axis is missing")
    values = [node.value(index) for index in range(len(node.inputs))]
    axis = normalized_axis(node.integer("axis", 0), len(shape_of(values[0].expr)))
    parts = [value for value in values if 0 not in shape_of(value.expr)] or values[:1]
    codes = parts[0].codes if all(part.codes == parts[0].codes for part in parts) else None
    if any(part.codes != codes for part in parts):
        raise Unsupported("codes of different widths")
    if len(parts) == 1:
        return parts[0]
    joined = relax.op.concat([part.expr for part in parts], axis)
    return Value(emit.emit(joined, node.name), codes)


def extreme(emit: Emitter, node: Node) -> relax.Expr:
    if dtype_of(node.expr(0)) == "bool":
        raise Unsupported("bool data; cast them to uint8 before")
    return stock(emit, node)


def data_dependent(_: Emitter, node: Node) -> relax.Expr:
    raise Unsupported("the shape of its result depends on the data")


def cut(emit: Emitter, node: Node) -> Value:
    """Slice, its bounds given as attributes (up to opset 9) or as constant inputs."""
    x = node.value(0)
    shape = shape_of(x.expr)
    starts, ends = _numbers(node, "starts", 1), _numbers(node, "ends", 2)
    if starts is None or ends is None:
        raise InvalidModel("starts or ends are missing")
    axes = _numbers(node, "axes", 3) or list(range(len(starts)))
    steps = _numbers(node, "steps", 4) or [1] * len(starts)
    axes = [normalized_axis(axis, len(shape)) for axis in axes]
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise InvalidModel(f"starts {starts}, ends {ends}, axes {axes}, steps {steps}")
    if len(set(axes)) != len(axes):
        raise InvalidModel(f"axes {axes} repeat")
    bounds = [
        slice(start, end, step).indices(shape[axis])
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True)
    ]
    # TVM counts negative ends from the back: the end before element 0 is -extent - 1.
    last = [
        end if end >= 0 else -shape[axis] - 1
        for (_, end, _), axis in zip(bounds, axes, strict=True)
    ]
    first = [start for start, _, _ in bounds]
    call = relax.op.strided_slice(x.expr, axes, first, last, steps)
    return Value(emit.emit(call, node.name), x.codes)


def _numbers(node: Node, name: str, index: int) -> list[int] | None:
    if node.has(index):
        return [int(value) for value in node.array(index, name).reshape(-1)]
    return node.integers(name, []) if name in node.attributes else None


PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def pad(emit: Emitter, node: Node) -> Value:
    """Pad, its pads given as an attribute (up to opset 10) or as constant inputs."""
    x = node.value(0)
    rank = len(shape_of(x.expr))
    mode = node.text("mode", "constant")
    if mode not in PAD_MODES:
        raise Unsupported(f"the mode {mode}; {', '.join(PAD_MODES)} work")
    given = _numbers(node, "pads", 1)
    axes = _numbers(node, "axes", 3) if node.has(3) else list(range(rank))
    if given is None or axes is None or len(given) != 2 * len(axes):
        raise InvalidModel(f"pads {given} for {rank} axes")
    width = np.zeros((rank, 2), "int64")
    for i, axis in enumerate(axes):
        width[normalized_axis(axis, rank)] = given[i], given[i + len(axes)]
    y = _cropped(emit, x.expr, np.minimum(width, 0), mode)
    width = np.maximum(width, 0)
    limit = {"reflect": -1, "wrap": 0}.get(mode)
    if limit is not None and (width.max(1) > np.array(shape_of(y)) + limit).any():
        raise Unsupported(f"pads {given} longer than the data {list(shape_of(y))} in mode {mode}")
    value = float(_pad_value(node))
    call = relax.op.nn.pad(y, width.reshape(-1).tolist(), PAD_MODES[mode], value)
    return Value(emit.emit(call, node.name) if width.any() else y, x.codes)


def _cropped(emit: Emitter, x: relax.Expr, width: Array, mode: str) -> relax.Expr:
    """`x` without what negative pads take away."""
    if not width.any():
        return x
    if mode != "constant":
        raise Unsupported(f"negative pads in mode {mode}")
    shape = shape_of(x)
    ends = [extent + int(cut) for extent, cut in zip(shape, width[:, 1], strict=True)]
    starts = (-width[:, 0]).tolist()
    if any(end <= start for start, end in zip(starts, ends, strict=True)):
        raise Unsupported(f"pads that leave nothing of {list(shape)}")
    return emit.emit(relax.op.strided_slice(x, list(range(len(shape))), starts, ends))


def _pad_value(node: Node) -> float | Array:
    if not node.has(2):
        return node.number("value", 0.0)
    return node.array(2, "the value").reshape(-1)[:1].sum()
