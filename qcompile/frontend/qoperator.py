"""QOperator: operators on codes that carry their scales as inputs.

    QLinearOp(x, s_x, z_x, ..., s_y, z_y) -> quantize(op(dequantize(x, s_x, z_x), ...), s_y, z_y)

QLinearConv and QLinearMatMul of ONNX (opset 10), QGemm, QLinearAdd, QLinearMul, QLinearConcat,
QLinearAveragePool, QLinearGlobalAveragePool, QLinearSigmoid, QLinearLeakyRelu, QLinearSoftmax,
QLinearReduceMean and QLinearWhere of com.microsoft. The int32 bias of a product has the scale
s_x * s_w. Scales and zero points have to be constants.
"""

import math
from collections.abc import Callable

import numpy as np
from tvm import relax

from qcompile.errors import InvalidModel, Unsupported
from qcompile.frontend.contractions import (
    broadcasts_to,
    convolve,
    multiply_matrices,
    scaled,
)
from qcompile.frontend.layout import transposed
from qcompile.frontend.node import (
    Array,
    Emitter,
    Node,
    Value,
    constant,
    normalized_axis,
    shape_of,
)
from qcompile.frontend.pools import average, global_average
from qcompile.frontend.qdq import codes_of, scale_array, scale_axis, zero_array
from qcompile.ops import dequantize, quantize


def scales(node: Node, index: int) -> Array:
    array = scale_array(node.expr(index))
    if array is None:
        raise Unsupported("a scale is computed at run time; only a constant works")
    return array


def real(emit: Emitter, node: Node, index: int, axis: int = 0) -> relax.Expr:
    """The float values of the codes at `index`, whose scale and zero point are the next inputs."""
    q = node.value(index)
    kind, factors = codes_of(q), scales(node, index + 1)
    zeros = zero_array(node, index + 2, kind, factors)
    along = scale_axis(factors, axis, shape_of(q.expr))
    call = dequantize(q.expr, constant(factors), constant(zeros), axis=along, **kind.attributes)
    return emit.emit(call)


def codes(emit: Emitter, node: Node, y: relax.Expr, index: int, like: int) -> Value:
    """`y` quantized to the scale at `index` and the zero point behind it.

    Without a zero point the codes have the type of the input `like`.
    """
    kind = codes_of(node.value(index + 1) if node.has(index + 1) else node.value(like))
    factors = scales(node, index)
    if factors.ndim:
        raise Unsupported("one output scale per channel; only one for the whole result works")
    zeros = zero_array(node, index + 1, kind, factors)
    call = quantize(y, constant(factors), constant(zeros), axis=0, **kind.attributes)
    return Value(emit.emit(call), kind)


def product_bias(emit: Emitter, bias: relax.Expr, a_scale: Array, b_scale: Array) -> relax.Expr:
    """int32 in units of a_scale * b_scale, along the last axis."""
    if a_scale.ndim:
        raise Unsupported("one data scale per row; only one for all data works")
    scale = np.asarray(a_scale * b_scale, "float32")
    axis = len(shape_of(bias)) - 1
    scale_axis(scale, axis, shape_of(bias))
    zero = constant(np.zeros(scale.shape, "int32"))
    return emit.emit(dequantize(bias, constant(scale), zero, axis=axis, bits=32, signed=True))


def convolution(emit: Emitter, node: Node) -> Value:
    """x, its scale and zero point; w, likewise; the result's; an int32 bias."""
    x, w = real(emit, node, 0), real(emit, node, 3, axis=0)
    bias = node.optional(8)
    if bias is not None:
        bias = product_bias(emit, bias, scales(node, 1), scales(node, 4))
    return codes(emit, node, convolve(emit, node, x, w, bias), 6, like=0)


def matmul(emit: Emitter, node: Node) -> Value:
    a = real(emit, node, 0, axis=-2)
    b = real(emit, node, 3, axis=-1)
    return codes(emit, node, multiply_matrices(emit, node, a, b), 6, like=0)


def gemm(emit: Emitter, node: Node) -> Value | relax.Expr:
    """alpha * (a @ b) + c, where c is int32 in units of alpha * s_a * s_b."""
    across = node.integer("transB", 0)
    a, b = real(emit, node, 0), real(emit, node, 3, axis=0 if across else -1)
    a = transposed(emit, a, [1, 0]) if node.integer("transA", 0) else a
    b = transposed(emit, b, [1, 0]) if across else b
    alpha = node.number("alpha", 1.0)
    y = scaled(emit, multiply_matrices(emit, node, a, b), alpha)
    c = node.optional(6)
    if c is not None:
        if not shape_of(c) or not broadcasts_to(shape_of(c), shape_of(y)):
            raise InvalidModel(f"C of shape {list(shape_of(c))} for a result {list(shape_of(y))}")
        a_scale = scales(node, 1) * np.float32(alpha)
        y = emit.emit(relax.op.add(y, product_bias(emit, c, a_scale, scales(node, 4))))
    return codes(emit, node, y, 7, like=0) if node.has(7) else y


def binary(operator: Callable[[relax.Expr, relax.Expr], relax.Expr]) -> Callable[..., Value]:
    """QLinearAdd, QLinearMul: `operator` on both inputs."""

    def convert(emit: Emitter, node: Node) -> Value:
        a, b = real(emit, node, 0), real(emit, node, 3)
        return codes(emit, node, emit.emit(operator(a, b), node.name), 6, like=0)

    return convert


def unary(convert_real: Callable[[Emitter, Node, relax.Expr], relax.Expr]) -> Callable[..., Value]:
    """X, its scale and zero point, the result's scale and zero point."""

    def convert(emit: Emitter, node: Node) -> Value:
        if node.integer("channels_last", 0):
            raise Unsupported("channels_last; only channels as the second axis work")
        return codes(emit, node, convert_real(emit, node, real(emit, node, 0)), 3, like=0)

    return convert


def _global_average(emit: Emitter, node: Node, x: relax.Expr) -> relax.Expr:
    return global_average(emit, x, node.name)


def _sigmoid(emit: Emitter, node: Node, x: relax.Expr) -> relax.Expr:
    return emit.emit(relax.op.sigmoid(x), node.name)


def _leaky_relu(emit: Emitter, node: Node, x: relax.Expr) -> relax.Expr:
    return emit.emit(relax.op.nn.leakyrelu(x, node.number("alpha", 0.01)), node.name)


def _softmax(emit: Emitter, node: Node, x: relax.Expr) -> relax.Expr:
    """Up to opset 12 over all axes from `axis` on, then along `axis`."""
    shape = shape_of(x)
    axis = normalized_axis(node.integer("axis", -1), len(shape))
    if node.integer("opset", 13) >= 13:
        return emit.emit(relax.op.nn.softmax(x, axis), node.name)
    rows = emit.emit(relax.op.reshape(x, (math.prod(shape[:axis]), math.prod(shape[axis:]))))
    return emit.emit(relax.op.reshape(emit.emit(relax.op.nn.softmax(rows, 1), node.name), shape))


def _mean(emit: Emitter, node: Node, x: relax.Expr) -> relax.Expr:
    rank = len(shape_of(x))
    axes = [normalized_axis(axis, rank) for axis in node.integers("axes", list(range(rank)))]
    return emit.emit(relax.op.mean(x, axes, bool(node.integer("keepdims", 1))), node.name)


average_pool = unary(average)
global_average_pool = unary(_global_average)
sigmoid = unary(_sigmoid)
leaky_relu = unary(_leaky_relu)
softmax = unary(_softmax)
reduce_mean = unary(_mean)


def concat(emit: Emitter, node: Node) -> Value:
    """The result's scale and zero point, then every input with its own."""
    if len(node.inputs) < 5 or len(node.inputs) % 3 != 2 or "axis" not in node.attributes:
        raise InvalidModel(f"{len(node.inputs)} inputs; it needs an axis and 2 + 3 * tensors")
    parts = [real(emit, node, index) for index in range(2, len(node.inputs), 3)]
    axis = normalized_axis(node.integer("axis", 0), len(shape_of(parts[0])))
    return codes(emit, node, emit.emit(relax.op.concat(parts, axis), node.name), 0, like=2)


def where(emit: Emitter, node: Node) -> Value:
    x, y = real(emit, node, 1), real(emit, node, 4)
    return codes(emit, node, emit.emit(relax.op.where(node.expr(0), x, y), node.name), 7, like=1)
