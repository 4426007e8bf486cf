"""Quantize and dequantize: the borders between float and integer data in the quantized form.

    quantize(x, s, z)   = clamp(round(x / s) + z, low, high)      float32 -> integer
    quantize(x, s, 0)   = x >= 0 ? 1 : -1                          bipolar: 1 bit, signed, narrow
    dequantize(q, s, z) = float32(q - z) * s                       integer -> float32

`s` (float32) and `z` (the stored integer type) are 0-d, or 1-d along `axis`. `bits`, `signed` and
`narrow` fix the range [low, high]; codes of up to 8 bits are stored in int8 or uint8. `rounding` is
one of qcompile.ops.roundings. ONNX QuantizeLinear and DequantizeLinear, opset 25; QONNX Quant and
BipolarQuant.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax, te, tirx

from qcompile.ops.registry import call_op, register_op
from qcompile.ops.roundings import EXPRESSIONS, HALF_EVEN, round_array
from qcompile.schedules.arithmetic import unfused

Array = NDArray[Any]
QUANTIZE = "qcompile.quantize"
DEQUANTIZE = "qcompile.dequantize"
LARGEST_EXPONENT = 120  # of powers of two that are normal float32, and their reciprocals too


def code_range(bits: int, signed: bool, narrow: bool) -> tuple[int, int]:
    """The smallest and the largest code."""
    if is_bipolar(bits, signed, narrow):
        return -1, 1
    if signed:
        return -(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1
    return 0, 2**bits - 1 - narrow


def is_bipolar(bits: int, signed: bool, narrow: bool) -> bool:
    """Whether the codes are -1 and 1, without 0: what one signed bit means when it is narrow."""
    return bits == 1 and signed and narrow


def quantize_array(
    x: Array,
    scale: Array,
    zero: Array,
    *,
    bits: int,
    signed: bool = False,
    narrow: bool = False,
    rounding: str = HALF_EVEN,
) -> Array:
    """What quantize computes, in NumPy: codes of x (float32); scale and zero broadcast to it."""
    dtype = stored_dtype(bits, signed)
    if is_bipolar(bits, signed, narrow):
        return np.where(x >= 0, 1, -1).astype(dtype)
    low, high = code_range(bits, signed, narrow)
    with np.errstate(all="ignore"):
        rounded = round_array((x / scale).astype("float32"), rounding) + zero.astype("float32")
    return np.clip(np.nan_to_num(rounded, nan=0.0), low, high).astype(dtype)


def stored_dtype(bits: int, signed: bool) -> str:
    """The narrowest integer type of TVM that holds the codes."""
    width = next(width for width in (8, 16, 32) if bits <= width)
    return f"int{width}" if signed else f"uint{width}"


def quantize(
    x: relax.Expr,
    scale: relax.Expr,
    zero_point: relax.Expr,
    *,
    axis: int = -1,
    bits: int = 8,
    signed: bool = False,
    narrow: bool = False,
    rounding: str = HALF_EVEN,
) -> tvm.ir.Call:
    """Codes of `x` (float32)."""
    attributes = {"axis": axis, "bits": bits, "signed": int(signed), "narrow": int(narrow)}
    register_quantize()
    return call_op(QUANTIZE, [x, scale, zero_point], rounding=rounding, **attributes)


def dequantize(
    q: relax.Expr,
    scale: relax.Expr,
    zero_point: relax.Expr,
    *,
    axis: int = -1,
    bits: int = 8,
    signed: bool = False,
    narrow: bool = False,
) -> tvm.ir.Call:
    """The float32 values of the codes `q`."""
    attributes = {"axis": axis, "bits": bits, "signed": int(signed), "narrow": int(narrow)}
    register_quantize()
    return call_op(DEQUANTIZE, [q, scale, zero_point], **attributes)


def register_quantize() -> None:
    register_op(QUANTIZE, _infer_quantize, _legalize_quantize)
    register_op(DEQUANTIZE, _infer_dequantize, _legalize_dequantize)


def _infer_quantize(call: tvm.ir.Call, _: relax.BlockBuilder) -> relax.Type:
    dtype = stored_dtype(int(call.attrs["bits"]), bool(call.attrs["signed"]))
    return relax.TensorType(call.args[0].ty.shape, dtype)


def _infer_dequantize(call: tvm.ir.Call, _: relax.BlockBuilder) -> relax.Type:
    return relax.TensorType(call.args[0].ty.shape, "float32")


def _along(parameter: te.Tensor, index: tuple[tirx.Var, ...], axis: int) -> Any:
    """The entry of a 0-d or 1-d parameter that belongs to the element at `index`."""
    if not parameter.shape:
        return parameter()
    return parameter[0] if int(parameter.shape[0]) == 1 else parameter[index[axis]]


def _legalize_quantize(bb: relax.BlockBuilder, call: tvm.ir.Call) -> relax.Expr:
    axis = int(call.attrs["axis"])
    bits, signed, narrow = (int(call.attrs[key]) for key in ("bits", "signed", "narrow"))
    low, high = code_range(bits, bool(signed), bool(narrow))
    dtype = stored_dtype(bits, bool(signed))
    rounded = EXPRESSIONS[str(call.attrs["rounding"])]

    def sign(x: te.Tensor, _scale: te.Tensor, *_: te.Tensor) -> te.Tensor:
        zero, codes = tirx.const(0.0, "float32"), [tirx.const(code, dtype) for code in (1, -1)]
        return te.compute(x.shape, lambda *i: tirx.Select(x(*i) >= zero, *codes), name="quantize")

    reciprocal = _exact_reciprocal(call.args[1])
    unit, literal = _is_one(call.args[1]), _literal(call.args[2])

    def compute(x: te.Tensor, *given: te.Tensor) -> te.Tensor:
        zero = given[not unit :]

        def scaled(index: tuple[tirx.Var, ...]) -> tirx.Expr:
            if unit:
                return x(*index)
            factor = _along(given[0], index, axis)
            return x(*index) / factor if reciprocal is None else x(*index) * factor

        def entry(*index: tirx.Var) -> tirx.Expr:
            code = rounded(scaled(index))
            code = code + _zero_at(zero, literal, index, axis).astype("float32")
            code = tirx.max(tirx.min(code, tirx.const(high, "float32")), tirx.const(low, "float32"))
            return code.astype("int32").astype(dtype)

        return te.compute(x.shape, entry, name="quantize")

    chosen = sign if is_bipolar(bits, bool(signed), bool(narrow)) else compute
    x, scale, *zero = call.args
    factor = [] if unit and chosen is compute else [scale if reciprocal is None else reciprocal]
    operands = [x, *factor, *(zero if literal is None else [])]
    return bb.call_te(chosen, *operands, primfunc_name_hint="quantize")


def _is_one(scale: relax.Expr) -> bool:
    """Whether dividing or multiplying by the scale changes nothing."""
    values = _constant(scale)
    return values is not None and bool(np.all(values == 1))


def _literal(zero: relax.Expr) -> int | None:
    """A zero point that is one constant: as a literal it is folded into what surrounds it."""
    values = _constant(zero)
    return int(values.reshape(())) if values is not None and values.size == 1 else None


def _zero_at(
    given: Sequence[te.Tensor], literal: int | None, index: tuple[tirx.Var, ...], axis: int
) -> tirx.Expr:
    """The zero point of the element at `index`: the operand's, or the literal."""
    return tirx.const(literal, "int32") if literal is not None else _along(given[0], index, axis)


def _constant(parameter: relax.Expr) -> Array | None:
    value: Any = getattr(parameter, "value", None)
    return value.numpy() if hasattr(value, "numpy") else None


def _exact_reciprocal(scale: relax.Expr) -> relax.Expr | None:
    """1 / scale where multiplying by it is dividing by the scale: constant powers of two.

    Both are the same real number, rounded once; a division takes several times as long.
    """
    values = _constant(scale)
    if values is None:
        return None
    mantissas, exponents = np.frexp(values)
    if np.all(mantissas == 0.5) and np.all(np.abs(exponents) < LARGEST_EXPONENT):
        return relax.const(1 / values, "float32")
    return None


def _legalize_dequantize(bb: relax.BlockBuilder, call: tvm.ir.Call) -> relax.Expr:
    axis = int(call.attrs["axis"])

    q, scale, *zero = call.args
    unit, literal = _is_one(scale), _literal(zero[0])

    def compute(q: te.Tensor, *given: te.Tensor) -> te.Tensor:
        zero = given[not unit :]

        def entry(*index: tirx.Var) -> tirx.Expr:
            code = q(*index).astype("int32")
            if literal != 0:
                code = code - _zero_at(zero, literal, index, axis).astype("int32")
            value = code.astype("float32")
            return value if unit else unfused(value * _along(given[0], index, axis))

        return te.compute(q.shape, entry, name="dequantize")

    operands = [q, *([] if unit else [scale]), *(zero if literal is None else [])]
    return bb.call_te(compute, *operands, primfunc_name_hint="dequantize")
