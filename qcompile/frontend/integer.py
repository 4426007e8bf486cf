"""MatMulInteger, ConvInteger, and the products of com.microsoft that add their scales.

    MatMulInteger(a, b, z_a, z_b)  -> qcompile.integer_matmul    int32
    ConvInteger(x, w, z_x, z_w)    -> qcompile.integer_conv2d    int32
    MatMulIntegerToFloat           -> float32(integer_matmul) * (s_a * s_b) + bias
    DynamicQuantizeMatMul          -> the same, a quantized by DynamicQuantizeLinear

A signal (N, C, W) is convolved as an image of one row.
"""

import numpy as np
from tvm import relax

from qcompile.errors import InvalidModel, Unsupported
from qcompile.frontend.dynamic import quantized_dynamically
from qcompile.frontend.node import Emitter, Node, constant, dtype_of, shape_of
from qcompile.frontend.windows import convolution_window
from qcompile.ops.integer_sources import integer_conv2d, integer_matmul

EIGHT_BITS = ("int8", "uint8")


def _data(node: Node, index: int) -> relax.Expr:
    expr = node.expr(index)
    if dtype_of(expr) not in EIGHT_BITS:
        raise Unsupported(f"input {index} of type {dtype_of(expr)}; int8 and uint8 work")
    return expr


def _zero_point(node: Node, index: int, data: relax.Expr) -> relax.Expr:
    """The zero point, 0-d when it is one number."""
    if not node.has(index):
        return constant(np.zeros((), dtype_of(data)))
    expr = node.expr(index)
    if dtype_of(expr) != dtype_of(data):
        raise InvalidModel(f"a zero point of type {dtype_of(expr)} for {dtype_of(data)} data")
    return expr


def _single(emit: Emitter, expr: relax.Expr) -> relax.Expr:
    return emit.emit(relax.op.reshape(expr, ())) if shape_of(expr) == (1,) else expr


def _row_zero(emit: Emitter, a: relax.Expr, zero: relax.Expr) -> relax.Expr:
    """One zero point per row of a (..., M, K): shaped to broadcast over a."""
    shape = shape_of(zero)
    if len(shape) == 1 and shape != (1,):
        zero = emit.emit(relax.op.reshape(zero, (shape[0], 1)))
    return _checked(a, _single(emit, zero))


def _checked(data: relax.Expr, zero: relax.Expr) -> relax.Expr:
    pairs = zip(reversed(shape_of(zero)), reversed(shape_of(data)), strict=False)
    if len(shape_of(zero)) > len(shape_of(data)) or any(z not in (1, d) for z, d in pairs):
        raise InvalidModel(
            f"zero points of shape {list(shape_of(zero))} for data {list(shape_of(data))}"
        )
    return zero


def matmul_integer(emit: Emitter, node: Node) -> relax.Expr:
    a, b = _data(node, 0), _data(node, 1)
    zeros = _zero_point(node, 2, a), _zero_point(node, 3, b)
    return product(emit, node, a, b, *zeros)


def product(
    emit: Emitter,
    node: Node,
    a: relax.Expr,
    b: relax.Expr,
    a_zero: relax.Expr,
    b_zero: relax.Expr,
) -> relax.Expr:
    """a: (..., M, K), b: (..., K, N); vectors get, and lose again, an axis of 1."""
    left, right = shape_of(a), shape_of(b)
    if not left or not right or left[-1] != right[-2 if len(right) > 1 else 0]:
        raise InvalidModel(f"a matrix product of {list(left)} and {list(right)}")
    a_zero, b_zero = _row_zero(emit, a, a_zero), _checked(b, _single(emit, b_zero))
    if len(left) == 1:
        a = emit.emit(relax.op.reshape(a, (1, *left)))
    if len(right) == 1:
        b = emit.emit(relax.op.reshape(b, (*right, 1)))
    y = emit.emit(integer_matmul(a, b, a_zero, b_zero), node.name)
    shape = list(shape_of(y))
    if len(right) == 1:
        del shape[-1]
    if len(left) == 1:
        del shape[-1 if len(right) == 1 else -2]
    return y if tuple(shape) == shape_of(y) else emit.emit(relax.op.reshape(y, shape))


def conv_integer(emit: Emitter, node: Node) -> relax.Expr:
    x, w = _data(node, 0), _data(node, 1)
    x_zero = _single(emit, _zero_point(node, 2, x))
    w_zero = _single(emit, _zero_point(node, 3, w))
    if shape_of(x_zero) or shape_of(w_zero) not in ((), shape_of(w)[:1]):
        raise InvalidModel(
            f"zero points of shape {list(shape_of(x_zero))} and {list(shape_of(w_zero))}"
        )
    window = convolution_window(node, shape_of(x), shape_of(w))
    axes = len(window.strides)
    if axes > 2:
        raise Unsupported(f"integer convolution over {axes} axes; 1 and 2 work")
    strides, dilations, pads = window.strides, window.dilations, window.pads
    if axes == 1:
        x, w = (emit.emit(relax.op.expand_dims(each, 2)) for each in (x, w))
        strides, dilations, pads = [1, *strides], [1, *dilations], [0, pads[0], 0, pads[1]]
    attributes = {"strides": strides, "padding": pads, "dilation": dilations}
    call = integer_conv2d(x, w, x_zero, w_zero, groups=window.groups, **attributes)
    y = emit.emit(call, node.name)
    return emit.emit(relax.op.squeeze(y, [2])) if axes == 1 else y


def _rescaled(
    emit: Emitter, total: relax.Expr, a_scale: relax.Expr, b_scale: relax.Expr
) -> relax.Expr:
    """float32(total) * (a_scale * b_scale)."""
    value = emit.emit(relax.op.astype(total, "float32"))
    scale = emit.emit(relax.op.multiply(_single(emit, a_scale), _single(emit, b_scale)))
    return emit.emit(relax.op.multiply(value, scale))


def matmul_integer_to_float(emit: Emitter, node: Node) -> relax.Expr:
    """A, B, their scales, their zero points, a float bias."""
    a, b = _data(node, 0), _data(node, 1)
    total = product(emit, node, a, b, _zero_point(node, 4, a), _zero_point(node, 5, b))
    a_scale = node.expr(2)
    if len(shape_of(a_scale)) == 1 and shape_of(a_scale) != (1,):
        a_scale = emit.emit(relax.op.expand_dims(a_scale, 1))
    y = _rescaled(emit, total, a_scale, node.expr(3))
    return emit.emit(relax.op.add(y, node.expr(6))) if node.has(6) else y


def dynamic_quantize_matmul(emit: Emitter, node: Node) -> relax.Expr:
    """A (float), B, B's scale, B's zero point, a float bias."""
    codes, scale, zero = quantized_dynamically(emit, node.expr(0))
    b = _data(node, 1)
    total = product(emit, node, codes, b, zero, _zero_point(node, 3, b))
    y = _rescaled(emit, total, scale, node.expr(2))
    return emit.emit(relax.op.add(y, node.expr(4))) if node.has(4) else y
