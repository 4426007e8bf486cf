"""Round to integers in one instruction.

    int32(clamp(round(v) + z, low, high))  ->  to_nearest(clamp(v, low - z, high - z)) + z

z, low and high are integers, so clamping commutes with rounding, and the sum in float32 is exact
where it is not clamped. to_nearest(v) is the int32 nearest to v, half to even; v must be in range.
x86 converts with rounding (vcvtps2dq), while TVM's cast cuts: it needs a rounded value.
"""

from typing import Any

import tvm.ir._ffi_api
import tvm_ffi
from tvm import tirx
from tvm.ir import register_op_attr

TO_NEAREST = "qcompile.to_nearest"
LARGEST = 2.0**23  # up to here float32 holds every integer, and sums of two of them are exact


def register_rounding() -> None:
    """Register the intrinsic `qcompile.to_nearest` and its lowering; twice is harmless."""
    if TO_NEAREST in tvm.ir._ffi_api.ListOpNames():
        return
    tvm.ir._ffi_api.RegisterOp(TO_NEAREST, "The int32 nearest to a float32, half to even.")
    register_op_attr(TO_NEAREST, "TVectorizable", True)
    register_op_attr(TO_NEAREST, "TScriptPrinterName", "to_nearest")
    register_op_attr(TO_NEAREST, "TCallEffectKind", int(tirx.CallEffectKind.Pure.value))
    tirx.register_intrin_lowering(
        TO_NEAREST,
        target="llvm",
        f=lambda call: tirx.call_llvm_pure_intrin(call.ty, "llvm.lrint", call.args[0]),
    )


def to_nearest(value: tirx.Expr) -> tirx.Expr:
    """The int32 nearest to `value` (float32), half to even; it must be in range."""
    register_rounding()
    return tirx.call_intrin("int32", tvm.ir.Op.get(TO_NEAREST), value)


def convert_rounding(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """`func` with clamped, rounded values converted in one instruction."""
    return func.with_body(tvm_ffi.structural_map(func.body, (tirx.Cast, _convert)))


def _convert(cast: Any) -> tirx.Expr:
    clamped = cast.value
    if str(cast.ty) != "int32" or not (
        isinstance(clamped, tirx.Max) and isinstance(clamped.a, tirx.Min)
    ):
        return cast
    rounded, limits = clamped.a.a, [clamped.a.b, clamped.b]
    if isinstance(rounded, tirx.Add):
        rounded, limits = rounded.a, [*limits, rounded.b]
    if not _rounds(rounded) or not all(_exact(limit) for limit in limits):
        return cast
    high, low, zero = (int(limit.value) for limit in (*limits, tirx.const(0.0, "float32"))[:3])
    value = tirx.min(rounded.args[0], tirx.const(float(high - zero), "float32"))
    value = tirx.max(value, tirx.const(float(low - zero), "float32"))
    return to_nearest(value) + zero if zero else to_nearest(value)


def _rounds(value: Any) -> bool:
    """Whether `value` is a float32 rounded half to even, by TVM's `round`."""
    name = getattr(getattr(value, "op", None), "name", "")
    return name in ("tirx.round", "tirx.nearbyint") and str(value.ty) == "float32"


def _exact(value: Any) -> bool:
    """Whether `value` is a constant integer so small that float32 sums of it are exact."""
    if not isinstance(value, tirx.FloatImm):
        return False
    return float(value.value).is_integer() and abs(float(value.value)) <= LARGEST / 4
