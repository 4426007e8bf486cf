"""Round to integers in one instruction.

    int32(clamp(round(v) + z, low, high))  ->  to_nearest(clamp(v, low - z, high - z)) + z

z, low and high are integers, so clamping commutes with rounding, and the sum in float32 is exact
where it is not clamped. to_nearest(v) is the int32 nearest to v, half to even; |v| <= 2**22.
x86 (vcvtps2dq) and AArch64 (fcvtns) convert with rounding, while TVM's cast cuts: it needs a
rounded value. ARMv7 has no such conversion of vectors: the lowest bits of v + 1.5 * 2**23 are it,
and rounding to a float32 is a sum like it.
"""

from typing import Any

import tvm
import tvm.ir._ffi_api
import tvm_ffi
from tvm import tirx
from tvm.ir import register_op_attr

from qcompile.schedules.arithmetic import unfused
from qcompile.schedules.saturation import codes
from qcompile.schedules.small_integers import add_instead_of_converting
from qcompile.targets import Target
from qcompile.targets.arm import IN_ORDER

TO_NEAREST, FCVTNS = "qcompile.to_nearest", "qcompile.to_nearest_fcvtns"
LARGEST = 2.0**23  # up to here float32 holds every integer, and sums of two of them are exact
TO_INTEGER = 1.5 * LARGEST  # up to 2**22 from here float32 counts in ones, as its bits do
TO_INTEGER_BITS = 0x4B400000
FLOATS = 4  # of a vector of AArch64
SIGN = 0x80000000  # the bit of a float32


def register_rounding() -> None:
    """Register the intrinsics and their lowering; twice is harmless."""
    for name, lowering in ((TO_NEAREST, _lrint), (FCVTNS, _fcvtns)):
        if name in tvm.ir._ffi_api.ListOpNames():
            continue
        tvm.ir._ffi_api.RegisterOp(name, "The int32 nearest to a float32, half to even.")
        register_op_attr(name, "TVectorizable", True)
        register_op_attr(name, "TScriptPrinterName", name.removeprefix("qcompile."))
        register_op_attr(name, "TCallEffectKind", int(tirx.CallEffectKind.Pure.value))
        tirx.register_intrin_lowering(name, target="llvm", f=lowering)


def _lrint(call: Any) -> tirx.Expr:
    return tirx.call_llvm_pure_intrin(call.ty, "llvm.lrint", call.args[0])


def _fcvtns(call: Any) -> tirx.Expr:
    value, *limits = call.args
    if limits:
        value = tirx.call_llvm_pure_intrin(value.ty, "llvm.minnum", value, limits[1])
        value = tirx.call_llvm_pure_intrin(value.ty, "llvm.maxnum", value, limits[0])
    lanes = int(tvm.DataType(str(call.ty)).lanes)
    name = "llvm.aarch64.neon.fcvtns"
    if lanes == 1:
        return tirx.call_llvm_pure_intrin("int32", f"{name}.i32.f32", value)
    if lanes <= FLOATS:
        vectors = f"{name}.v{lanes}i32.v{lanes}f32"
        return tirx.call_llvm_pure_intrin(f"int32x{lanes}", vectors, value)
    parts = [
        tirx.call_llvm_pure_intrin(
            f"int32x{FLOATS}",
            f"{name}.v{FLOATS}i32.v{FLOATS}f32",
            tirx.Shuffle([value], list(range(first, first + FLOATS))),
        )
        for first in range(0, lanes, FLOATS)
    ]
    return tirx.Shuffle(parts, list(range(lanes)))


def to_nearest(value: tirx.Expr) -> tirx.Expr:
    """The int32 nearest to `value` (float32), half to even; at most 2**22 from 0."""
    register_rounding()
    return tirx.call_intrin("int32", tvm.ir.Op.get(TO_NEAREST), value)


def convert_rounding(func: tirx.PrimFunc, target: Target) -> tirx.PrimFunc:
    """`func` with clamped, rounded values converted in one instruction of the target, or two."""
    body = tvm_ffi.structural_map(func.body, (tirx.Cast, _convert))
    # LLVM orders what is narrowed for a Cortex-A53 worse than what is clamped.
    if target.architecture.name == "aarch64" and target.llvm["mcpu"] not in IN_ORDER:
        add = "dotprod" in target.features
        form = "add" if add else "fcvtns"
        body = tvm_ffi.structural_map(body, (tirx.Cast, lambda cast: _narrow(cast, form)))
        body = add_instead_of_converting(body) if add else body
    sequences = SEQUENCES.get(target.architecture.name, {})

    def converted(call: Any) -> tirx.Expr:
        sequence = sequences.get(getattr(call.op, "name", ""))
        if sequence is None or str(call.args[0].ty) != "float32":
            return call
        return sequence(call.args[0])

    return func.with_body(tvm_ffi.structural_map(body, (tvm.ir.Call, converted)))


def _narrow(cast: Any, form: str) -> tirx.Expr:
    """Codes of 8 bits that are clamped, rounded and cut, by `saturation`."""
    dtype, rounded = str(cast.ty), cast.value
    zero: Any = tirx.const(0, "int32")
    if isinstance(rounded, tirx.Add):
        rounded, zero = rounded.a, rounded.b
    elif isinstance(rounded, tirx.Sub):
        rounded, zero = rounded.a, -rounded.b
    if (
        dtype not in ("int8", "uint8")
        or getattr(getattr(rounded, "op", None), "name", "") != TO_NEAREST
    ):
        return cast
    clamped = rounded.args[0]
    if not (isinstance(clamped, tirx.Max) and isinstance(clamped.a, tirx.Min)):
        return cast
    limits = [_integer(limit) + zero for limit in (clamped.b, clamped.a.b)]
    return codes(form, clamped.a.a, zero, limits, dtype)


def _integer(limit: Any) -> tirx.Expr:
    """An integer among float32, as int32."""
    if isinstance(limit, tirx.FloatImm):
        return tirx.const(int(limit.value), "int32")
    return tirx.Cast("int32", limit)


def _by_fcvtns(value: tirx.Expr) -> tirx.Expr:
    """Limits go with it: for any value but a NaN, which codes are not, fminnm is their minimum."""
    arguments = [value]
    if isinstance(value, tirx.Max) and isinstance(value.a, tirx.Min):
        arguments = [value.a.a, value.b, value.a.b]
    return tirx.call_intrin("int32", tvm.ir.Op.get(FCVTNS), *arguments)


def _by_addition(value: tirx.Expr) -> tirx.Expr:
    bits = tirx.reinterpret("int32", value + tirx.const(TO_INTEGER, "float32"))
    return bits - tirx.const(TO_INTEGER_BITS, "int32")


def _rounded(value: tirx.Expr) -> tirx.Expr:
    """`value` rounded half to even, in float32: numbers from LARGEST on are integers."""
    largest, sign = tirx.const(LARGEST, "float32"), tirx.const(SIGN, "uint32")
    size = tirx.abs(value)
    whole = tirx.reinterpret("uint32", unfused(size + largest) - largest)
    signed = whole | (tirx.reinterpret("uint32", value) & sign)
    return tirx.Select(size < largest, tirx.reinterpret("float32", signed), value)


# LLVM calls a function of C for each number that ARMv7 rounds. For floor and ceil it may: there, a
# comparison of vectors takes the smallest numbers for 0.
SEQUENCES = {
    "aarch64": {TO_NEAREST: _by_fcvtns},
    "armv7": {
        TO_NEAREST: _by_addition,
        "tirx.round": _rounded,
        "tirx.nearbyint": _rounded,
    },
}


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
