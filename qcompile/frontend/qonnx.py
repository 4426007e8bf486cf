"""QONNX: quantizers as single nodes whose results are floats.

    Quant(x, s, z, b)  = (round(clamp(x / s + z, low, high)) - z) * s
    Quant(x, s, z, 1)  = ((x / s + z >= 0 ? 1 : -1) - z) * s             where it is signed
    BipolarQuant(x, s) = (x >= 0 ? 1 : -1) * s

The limits are integers, so clamping may follow rounding, as qcompile.quantize does it:

    z = 0                       -> dequantize(quantize(x, s, 0), s, 0)
    whole z, half_even          -> dequantize(quantize(x, s, z), s, z), half_odd where z is odd
    anything else               -> c = quantize(x / s + z, 1, 0), (c - z) * s
    x constant (weights, bias)  -> dequantize(integer constants, s, z)

x / s >= 0 is taken as x >= 0, which differs where a negative quotient underflows to 0. Scales and
zero points broadcast; those that vary along one axis at most have the first two forms.
IntQuant is the newer name of Quant. The qonnx package 1.0: custom_op/general/intquant.py and
bipolar_quant.py.
"""

import numpy as np
from tvm import relax

from qcompile.errors import InvalidModel, Unsupported
from qcompile.frontend.node import Array, Codes, Emitter, Node, array_of, constant, dtype_of
from qcompile.frontend.qdq import scale_array
from qcompile.frontend.qonnx_parameters import (
    BIPOLAR,
    Grid,
    bit_width,
    check_spreads,
    codes_of_width,
    grid_of,
    rounding_of,
    zero_points,
)
from qcompile.ops import dequantize, quantize
from qcompile.ops.quantize import code_range, is_bipolar, stored_dtype
from qcompile.ops.roundings import HALF_EVEN, round_array

MOST_BITS = 8  # of values computed at run time
MOST_CONSTANT_BITS = 32  # of biases, above all


def quant(emit: Emitter, node: Node) -> relax.Expr:
    """Quant and IntQuant."""
    fixed = array_of(node.expr(0)) is not None
    bits = bit_width(node, 3, MOST_CONSTANT_BITS if fixed else MOST_BITS)
    signed, narrow = (bool(node.integer(name, 1)) for name in ("signed", "narrow"))
    codes, rounding = codes_of_width(bits, signed, narrow), rounding_of(node, "ROUND")
    check_spreads(node, 2, "zero points")
    return _quantized(emit, node, zero_points(node, 2), codes, rounding)


def bipolar_quant(emit: Emitter, node: Node) -> relax.Expr:
    return _quantized(emit, node, np.zeros((), "float32"), BIPOLAR, HALF_EVEN)


def data_of(node: Node) -> relax.Expr:
    """What is quantized. Raises Unsupported unless it is float32."""
    x = node.expr(0)
    if dtype_of(x) != "float32":
        raise Unsupported(f"quantization of {dtype_of(x)} data; float32 and float16 work")
    return x


def _quantized(
    emit: Emitter, node: Node, zero: Array | None, codes: Codes, rounding: str
) -> relax.Expr:
    """Input 0 quantized with the scale at input 1, and dequantized."""
    x, scale = data_of(node), scale_array(node.expr(1))
    check_spreads(node, 1, "scales")
    if scale is None or zero is None:
        return _by_operators(emit, node, x, codes, rounding)
    array = array_of(x)
    grid = grid_of(scale, zero, codes, len(x.ty.shape))
    if array is not None:
        q = _code_values(array, scale, zero, codes, rounding)
        return _constant(q, scale, zero, grid, codes)
    kept = None if grid is None else grid.kept_rounding(rounding)
    if grid is None or kept is None:
        return _by_operators(emit, node, x, codes, rounding)
    parameters = constant(grid.scale), constant(grid.zero)
    q = emit.emit(quantize(x, *parameters, axis=grid.axis, **codes.attributes, rounding=kept))
    return dequantize(q, *parameters, axis=grid.axis, **codes.attributes)


def _code_values(x: Array, scale: Array, zero: Array, codes: Codes, rounding: str) -> Array:
    """The codes of constant values as float32: round(clamp(x / s + z, low, high))."""
    with np.errstate(all="ignore"):
        v = x / scale + zero
    if np.isnan(v).any():
        raise InvalidModel("a constant to quantize is no number")
    if is_bipolar(codes.bits, codes.signed, codes.narrow):
        return np.where(v >= 0, np.float32(1), np.float32(-1))
    low, high = code_range(codes.bits, codes.signed, codes.narrow)
    return round_array(np.clip(v, np.float32(low), np.float32(high)), rounding)


def _constant(q: Array, scale: Array, zero: Array, grid: Grid | None, codes: Codes) -> relax.Expr:
    """Constant codes, dequantized; floats where no dequantize gives these values."""
    dtype = stored_dtype(codes.bits, codes.signed)
    if grid is None or dtype == "uint32" or np.abs(q).max(initial=0) >= 2**31:
        return constant(((q - zero) * scale).astype("float32"))
    parameters = constant(grid.scale), constant(grid.zero)
    return dequantize(constant(q.astype(dtype)), *parameters, axis=grid.axis, **codes.attributes)


def _by_operators(
    emit: Emitter, node: Node, x: relax.Expr, codes: Codes, rounding: str
) -> relax.Expr:
    """Any scales and zero points, those of run time too."""
    scale, zero = node.expr(1), node.optional(2)
    v = emit.emit(relax.op.divide(x, scale))
    v = v if zero is None else emit.emit(relax.op.add(v, zero))
    q = plain_codes(emit, v, codes, rounding)
    values = emit.emit(relax.op.astype(q, "float32"))
    values = values if zero is None else emit.emit(relax.op.subtract(values, zero))
    return relax.op.multiply(values, scale)


def plain_codes(emit: Emitter, v: relax.Expr, codes: Codes, rounding: str) -> relax.Expr:
    """clamp(round(v), low, high) as integers."""
    zero = constant(np.zeros((), stored_dtype(codes.bits, codes.signed)))
    one = relax.const(1.0, "float32")
    return emit.emit(quantize(v, one, zero, **codes.attributes, rounding=rounding))
