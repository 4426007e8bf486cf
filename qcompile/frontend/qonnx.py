"""QONNX: quantizers as single nodes whose results are floats.

    Quant(x, s, z, b)  = (round(clamp(x / s + z, low, high)) - z) * s
    Quant(x, s, z, 1)  = (x / s + z >= 0 ? 1 : -1) - z) * s              where it is signed
    BipolarQuant(x, s) = (x >= 0 ? 1 : -1) * s

The limits are integers, so clamping may follow rounding, as qcompile.quantize does it:

    z = 0                                -> dequantize(quantize(x, s, 0), s, 0)
    whole z, half_even                   -> dequantize(quantize(x, s, z), s, z)
    anything else                        -> quantize(x / s + z, 1, 0), (codes - z) * s
    x constant (weights, biases)         -> dequantize(integer constants, s, z)

half_even is half_odd where z is odd: z is added after rounding. IntQuant is the newer name of
Quant. QONNX custom operators of Quant and BipolarQuant, as qonnx 1.0 executes them.
"""

import numpy as np
from tvm import relax

from qcompile.errors import InvalidModel, Unsupported
from qcompile.frontend.node import (
    Array,
    Codes,
    Emitter,
    Node,
    array_of,
    constant,
    dtype_of,
    shape_of,
)
from qcompile.frontend.qdq import scale_array
from qcompile.ops import dequantize, quantize
from qcompile.ops.quantize import code_range, is_bipolar, stored_dtype
from qcompile.ops.roundings import HALF_EVEN, round_array

MOST_BITS = 16  # of values computed at run time
MOST_CONSTANT_BITS = 32  # of biases, above all

ROUNDINGS = {
    "ROUND": HALF_EVEN,
    "HALF_EVEN": HALF_EVEN,
    "CEIL": "ceil",
    "FLOOR": "floor",
    "UP": "up",
    "DOWN": "down",
    "ROUND_TO_ZERO": "down",  # what Brevitas calls it
    "HALF_UP": "half_up",
    "HALF_DOWN": "half_down",
}
BIPOLAR = Codes(1, True, True)


def quant(emit: Emitter, node: Node) -> relax.Expr:
    """Quant and IntQuant."""
    x = _data(node)
    codes = _codes(node, 3, MOST_CONSTANT_BITS if array_of(x) is not None else MOST_BITS)
    zero = _zeros(node, 2)
    return _quantized(emit, node, x, zero, codes, rounding_of(node, "ROUND"))


def bipolar_quant(emit: Emitter, node: Node) -> relax.Expr:
    zero = np.zeros((), "float32")
    return _quantized(emit, node, _data(node), zero, BIPOLAR, HALF_EVEN)


def rounding_of(node: Node, default: str) -> str:
    """The attribute `rounding_mode`, as qcompile.ops.roundings calls it."""
    mode = node.text("rounding_mode", default)
    if mode.upper() not in ROUNDINGS:
        raise Unsupported(f"rounding_mode '{mode}'; {', '.join(ROUNDINGS)} work")
    return ROUNDINGS[mode.upper()]


def bit_width(node: Node, index: int, most: int) -> int:
    """The constant bit width at an input."""
    array = array_of(node.expr(index))
    if array is None:
        raise Unsupported("its bit width is computed at run time; only a constant works")
    widths = np.unique(array)
    if len(widths) != 1:
        raise Unsupported(f"{array.size} bit widths; one for the whole tensor works")
    (width,) = widths.astype("float64")
    if not np.isfinite(width) or width != np.rint(width) or not 1 <= width <= most:
        raise Unsupported(f"a bit width of {width:g}; whole numbers from 1 to {most} work")
    return int(width)


def _data(node: Node) -> relax.Expr:
    x = node.expr(0)
    if dtype_of(x) != "float32":
        raise Unsupported(f"quantization of {dtype_of(x)} data; float32 and float16 work")
    return x


def _codes(node: Node, index: int, most: int) -> Codes:
    """The range of the codes. One signed bit is bipolar, narrow or not."""
    bits, signed = bit_width(node, index, most), bool(node.integer("signed", 1))
    if bits == 1 and signed:
        return BIPOLAR
    codes = Codes(bits, signed, bool(node.integer("narrow", 1)))
    if codes == Codes(1, False, True):
        raise Unsupported("one unsigned bit that is narrow has the code 0 alone; narrow=0 works")
    return codes


def _zeros(node: Node, index: int) -> Array | None:
    """The zero points as float32, None where they are computed at run time."""
    array = array_of(node.expr(index))
    if array is None:
        return None
    if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise InvalidModel("a zero point is no finite number")
    return array.astype("float32")


def _quantized(
    emit: Emitter, node: Node, x: relax.Expr, zero: Array | None, codes: Codes, rounding: str
) -> relax.Expr:
    """`x` quantized and dequantized; input 1 is its scale."""
    scale = scale_array(node.expr(1))
    for index, what in ((1, "scales"), (2, "zero points")):
        if node.has(index) and not _spreads(shape_of(node.expr(index)), shape_of(x)):
            shapes = f"{list(shape_of(node.expr(index)))} on data of shape {list(shape_of(x))}"
            raise InvalidModel(f"{what} of shape {shapes}; one, or one a channel, work")
    array = array_of(x)
    if scale is None or zero is None:
        return _by_operators(emit, node, x, codes, rounding)
    pair = _grid(scale, zero, codes, len(shape_of(x)))
    if array is not None:
        return _constant(array, scale, zero, pair, codes, rounding)
    if pair is None:
        return _by_operators(emit, node, x, codes, rounding)
    factor, shift, axis = pair
    kept = _kept_rounding(shift, codes, rounding)
    if kept is None:
        return _by_operators(emit, node, x, codes, rounding)
    parameters = constant(factor), constant(shift)
    q = quantize(x, *parameters, axis=axis, **codes.attributes, rounding=kept)
    return dequantize(emit.emit(q), *parameters, axis=axis, **codes.attributes)


def _spreads(inner: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether a parameter broadcasts to data of `shape`."""
    if np.prod(inner) == 1:
        return True
    aligned = shape[len(shape) - len(inner) :]
    return len(inner) <= len(shape) and all(
        one in (1, extent) for one, extent in zip(inner, aligned, strict=True)
    )


def _grid(scale: Array, zero: Array, codes: Codes, rank: int) -> tuple[Array, Array, int] | None:
    """Scales and zero points as qcompile.quantize takes them, and their axis.

    None where they vary along several axes, or where a zero point is no code.
    """
    scale, zero = (_aligned(array, rank) for array in (scale, zero))
    varying = [axis for axis in range(rank) if max(scale.shape[axis], zero.shape[axis]) > 1]
    low, high = code_range(codes.bits, codes.signed, codes.narrow)
    whole = (zero == np.rint(zero)).all() and low <= zero.min() and zero.max() <= high
    if len(varying) > 1 or not whole:
        return None
    if is_bipolar(codes.bits, codes.signed, codes.narrow) and zero.any():
        return None
    dtype = stored_dtype(codes.bits, codes.signed)
    if not varying:
        return scale.reshape(()), zero.reshape(()).astype(dtype), 0
    scale, zero = np.broadcast_arrays(scale, zero)
    return scale.reshape(-1), zero.reshape(-1).astype(dtype), varying[0]


def _aligned(array: Array, rank: int) -> Array:
    """A parameter of as many axes as the data."""
    if array.size == 1:
        return array.reshape((1,) * rank)
    return array.reshape((1,) * (rank - array.ndim) + array.shape)


def _kept_rounding(zero: Array, codes: Codes, rounding: str) -> str | None:
    """The rounding of x / s that gives the codes of x / s + z, None where none does."""
    if not zero.any():
        return rounding
    odd = zero.astype("int64") % 2 == 1
    if rounding != HALF_EVEN or (odd.any() and not odd.all()):
        return None
    return "half_odd" if odd.any() else HALF_EVEN


def _constant(
    x: Array,
    scale: Array,
    zero: Array,
    pair: tuple[Array, Array, int] | None,
    codes: Codes,
    rounding: str,
) -> relax.Expr:
    """Constant codes, dequantized; floats where no dequantize gives these values."""
    q = code_values(x, scale, zero, codes, rounding)
    dtype = stored_dtype(codes.bits, codes.signed)
    fits = np.abs(q).max(initial=0) < 2**31
    if pair is None or not fits or dtype == "uint32":
        return constant(((q - zero) * scale).astype("float32"))
    factor, shift, axis = pair
    parameters = constant(factor), constant(shift)
    return dequantize(constant(q.astype(dtype)), *parameters, axis=axis, **codes.attributes)


def code_values(x: Array, scale: Array, zero: Array, codes: Codes, rounding: str) -> Array:
    """The codes of constant values as float32: round(clamp(x / s + z, low, high))."""
    with np.errstate(all="ignore"):
        v = x / scale + zero
    if np.isnan(v).any():
        raise InvalidModel("a constant to quantize is no number")
    if is_bipolar(codes.bits, codes.signed, codes.narrow):
        return np.where(v >= 0, np.float32(1), np.float32(-1))
    low, high = code_range(codes.bits, codes.signed, codes.narrow)
    return round_array(np.clip(v, np.float32(low), np.float32(high)), rounding)


def _by_operators(
    emit: Emitter, node: Node, x: relax.Expr, codes: Codes, rounding: str
) -> relax.Expr:
    """(quantize(x / s + z, 1, 0) - z) * s: any scales and zero points, those of run time too."""
    scale = node.expr(1)
    v = emit.emit(relax.op.divide(x, scale))
    zero = node.optional(2)
    if zero is not None:
        v = emit.emit(relax.op.add(v, zero))
    q = emit.emit(plain_codes(emit, v, codes, rounding))
    values = emit.emit(relax.op.astype(q, "float32"))
    if zero is not None:
        values = emit.emit(relax.op.subtract(values, zero))
    return relax.op.multiply(values, scale)


def plain_codes(emit: Emitter, v: relax.Expr, codes: Codes, rounding: str) -> relax.Expr:
    """clamp(round(v), low, high)."""
    nought = constant(np.zeros((), stored_dtype(codes.bits, codes.signed)))
    one = relax.const(1.0, "float32")
    return emit.emit(quantize(v, one, nought, **codes.attributes, rounding=rounding))
