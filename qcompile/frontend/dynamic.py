"""Quantization with scales that are computed at run time, as primitive float operators.

    quantize(x, s, z)   -> uint8(clip(round(x / s) + float32(z)))     likewise int8, int16, uint16
    dequantize(q, s, z) -> float32(int32(q) - int32(z)) * s
    DynamicQuantizeLinear(x): s = (max(x, 0) - min(x, 0)) / 255, z = round(clip(-min / s))

ONNX DynamicQuantizeLinear, opset 11. Where all of x is 0 the scale is 1, as in ONNX Runtime.
"""

from tvm import relax

from qcompile.errors import InvalidModel, Unsupported
from qcompile.frontend.node import (
    Codes,
    Emitter,
    Node,
    Value,
    dtype_of,
    normalized_axis,
    shape_of,
)
from qcompile.ops.quantize import code_range, stored_dtype


def _along(emit: Emitter, node: Node, parameter: relax.Expr, rank: int) -> relax.Expr:
    """A scale or zero point, shaped to broadcast over a tensor of `rank`."""
    shape = shape_of(parameter)
    if node.integer("block_size", 0) or len(shape) > 1:
        raise Unsupported("blocked scales computed at run time; only constant ones work")
    if shape in ((), (1,)):
        return emit.emit(relax.op.reshape(parameter, [1] * max(rank, 1))) if rank else parameter
    axis = normalized_axis(node.integer("axis", 1), rank)
    if shape_of(node.expr(0))[axis] != shape[0]:
        raise InvalidModel(f"{shape[0]} scales along axis {axis} of {list(shape_of(node.expr(0)))}")
    extents = [shape[0] if i == axis else 1 for i in range(rank)]
    return emit.emit(relax.op.reshape(parameter, extents))


def dynamic_quantize(emit: Emitter, node: Node, x: relax.Expr, codes: Codes) -> relax.Expr:
    """Codes of `x` for scale and zero point at inputs 1 and 2."""
    rank = len(shape_of(x))
    low, high = code_range(codes.bits, codes.signed, codes.narrow)
    code = emit.emit(relax.op.divide(x, _along(emit, node, node.expr(1), rank)))
    code = emit.emit(relax.op.round(code))
    if node.has(2):
        zero = emit.emit(relax.op.astype(node.expr(2), "float32"))
        code = emit.emit(relax.op.add(code, _along(emit, node, zero, rank)))
    code = emit.emit(relax.op.clip(code, float(low), float(high)))
    return emit.emit(relax.op.astype(code, stored_dtype(codes.bits, codes.signed)), node.name)


def dynamic_dequantize(emit: Emitter, node: Node, q: relax.Expr) -> relax.Expr:
    """float32 values of `q` for scale and zero point at inputs 1 and 2."""
    rank = len(shape_of(q))
    if dtype_of(q) != "int32":
        q = emit.emit(relax.op.astype(q, "int32"))
    if node.has(2):
        zero = emit.emit(relax.op.astype(node.expr(2), "int32"))
        q = emit.emit(relax.op.subtract(q, _along(emit, node, zero, rank)))
    value = emit.emit(relax.op.astype(q, "float32"))
    scale = _along(emit, node, node.expr(1), rank)
    return emit.emit(relax.op.multiply(value, scale), node.name)


def dynamic_quantize_linear(emit: Emitter, node: Node) -> list[relax.Expr | Value]:
    return list(quantized_dynamically(emit, node.expr(0), node.name))


def quantized_dynamically(
    emit: Emitter, x: relax.Expr, name: str = ""
) -> tuple[relax.Expr, relax.Expr, relax.Expr]:
    """The codes (uint8), their scale (float32) and zero point (uint8), both 0-d."""
    if dtype_of(x) != "float32":
        raise InvalidModel(f"quantization of {dtype_of(x)} data")
    nought = relax.const(0.0, "float32")
    greatest = emit.emit(relax.op.maximum(emit.emit(relax.op.max(x)), nought))
    least = emit.emit(relax.op.minimum(emit.emit(relax.op.min(x)), nought))
    span = emit.emit(relax.op.subtract(greatest, least))
    empty = emit.emit(relax.op.equal(span, nought))
    scale = emit.emit(relax.op.divide(span, relax.const(255.0, "float32")))
    scale = emit.emit(relax.op.where(empty, relax.const(1.0, "float32"), scale))
    shift = emit.emit(relax.op.divide(emit.emit(relax.op.subtract(nought, least)), scale))
    zero = emit.emit(relax.op.round(emit.emit(relax.op.clip(shift, 0.0, 255.0))))
    code = emit.emit(relax.op.round(emit.emit(relax.op.divide(x, scale))))
    code = emit.emit(relax.op.clip(emit.emit(relax.op.add(code, zero)), 0.0, 255.0))
    codes = emit.emit(relax.op.astype(code, "uint8"), name)
    return codes, scale, emit.emit(relax.op.astype(zero, "uint8"))
