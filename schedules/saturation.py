"""Codes of 8 bits from float32 on AArch64, in vectors: rounded, narrowed and clamped.

    codes(v, z, low, high) = clamp(round(v) + z, low, high)          z, low, high: codes

round is half to even. As limits of float32, clamps take two instructions for every four codes, and
what cuts an int32 to its lowest byte takes others. There are two ways around:

    fcvtns    conversions saturate, and so do sqxtn and sqxtun, which narrow: limits within those of
              the type are left to vectors of 16 codes
    add       where conversions have one of two pipes (cores with dot products), v + 1.5 * 2**23 has
              the rounded value in its lowest bits; as integers, such bits are in the order of their
              values, whatever v is: they are clamped as integers, and the lowest byte is the code
"""

from typing import Any

import tvm
import tvm.ir._ffi_api
from tvm import tirx
from tvm.ir import register_op_attr
from tvm.script import tirx as T  # noqa: N812

TO_INTEGER, TO_INTEGER_BITS = 1.5 * 2.0**23, 0x4B400000
HALF, QUARTER = 8, 4  # lanes: of int16, of int32
SIGN = 128
NEON = "llvm.aarch64.neon"
FORMS = ("fcvtns", "add")


def register_saturation() -> None:
    """Register the intrinsics and their lowering; twice is harmless."""
    for form, lowering in zip(FORMS, (_fcvtns, _add), strict=True):
        name = _name(form)
        if name in tvm.ir._ffi_api.ListOpNames():
            continue
        tvm.ir._ffi_api.RegisterOp(name, "The code of 8 bits nearest to a float32.")
        register_op_attr(name, "TVectorizable", True)
        register_op_attr(name, "TScriptPrinterName", name.removeprefix("qcompile."))
        register_op_attr(name, "TCallEffectKind", int(tirx.CallEffectKind.Pure.value))
        tirx.register_intrin_lowering(name, target="llvm", f=lowering)


def codes(form: str, value: tirx.Expr, zero: tirx.Expr, limits: Any, dtype: str) -> tirx.Expr:
    """The codes of `value` (float32); zero and limits (low, high): int32."""
    register_saturation()
    smallest, largest = _range(dtype)
    known = all(isinstance(limit, tirx.IntImm) for limit in limits)
    every = known and (int(limits[0]), int(limits[1])) == (smallest, largest)
    arguments = [value, zero, *([] if every else limits)]
    return tirx.call_intrin(dtype, tvm.ir.Op.get(_name(form)), *arguments)


def _name(form: str) -> str:
    return f"qcompile.codes_{form}"


def _range(dtype: str) -> tuple[int, int]:
    return (0, 255) if dtype.startswith("uint8") else (-128, 127)


def _fcvtns(call: Any) -> tirx.Expr:
    value, zero, *limits = call.args
    dtype, lanes = _element(call.ty), _lanes(call.ty)
    if lanes % HALF:
        low, high = limits or (_all(limit, "int32", lanes) for limit in _range(dtype))
        whole = _each(f"{NEON}.fcvtns", "int32", value, lanes)
        return tirx.Cast(str(call.ty), tirx.max(tirx.min(whole, high - zero), low - zero) + zero)
    parts = [
        _narrowed(_part(value, first, HALF), _part(zero, first, HALF), dtype)
        for first in range(0, lanes, HALF)
    ]
    found = parts[0] if len(parts) == 1 else T.Shuffle(parts, list(range(lanes)))
    if dtype == "uint8" and _is(zero, SIGN):
        found = T.bitwise_xor(found, _all(SIGN, dtype, lanes))
    for limit, clamp in zip(limits, (tirx.max, tirx.min), strict=False):
        found = clamp(found, tirx.Cast(str(call.ty), limit))
    return found


def _narrowed(value: tirx.Expr, zero: tirx.Expr, dtype: str) -> tirx.Expr:
    """Eight codes; those of a zero point in the middle of uint8 have their sign bits turned."""
    quarters = [
        tirx.call_llvm_pure_intrin(
            f"int16x{QUARTER}",
            f"{NEON}.sqxtn.v{QUARTER}i16",
            _each(f"{NEON}.fcvtns", "int32", _part(value, first, QUARTER), QUARTER),
        )
        for first in (0, QUARTER)
    ]
    halves = T.Shuffle(quarters, list(range(HALF)))
    signed = dtype == "int8" or _is(zero, SIGN)
    if not _is(zero, 0) and not (dtype == "uint8" and signed):
        words = f"int16x{HALF}"
        shift = tirx.Cast(words, zero)
        halves = tirx.call_llvm_pure_intrin(words, f"{NEON}.sqadd.v{HALF}i16", halves, shift)
    narrow = "sqxtn" if signed else "sqxtun"
    return tirx.call_llvm_pure_intrin(f"{dtype}x{HALF}", f"{NEON}.{narrow}.v{HALF}i8", halves)


def _each(name: str, element: str, value: tirx.Expr, lanes: int) -> tirx.Expr:
    """The instruction on float32, at most four at a time."""
    if lanes == 1:
        return tirx.call_llvm_pure_intrin(element, f"{name}.i32.f32", value)
    if lanes <= QUARTER:
        full = f"{name}.v{lanes}i32.v{lanes}f32"
        return tirx.call_llvm_pure_intrin(f"{element}x{lanes}", full, value)
    sizes = [min(QUARTER, lanes - first) for first in range(0, lanes, QUARTER)]
    parts = [
        _each(name, element, _part(value, QUARTER * k, size), size) for k, size in enumerate(sizes)
    ]
    return T.Shuffle(parts, list(range(lanes)))


def _add(call: Any) -> tirx.Expr:
    value, zero, *limits = call.args
    dtype, lanes = _element(call.ty), _lanes(call.ty)
    low, high = limits or (_all(limit, "int32", lanes) for limit in _range(dtype))
    rounded = tirx.call_llvm_pure_intrin(value.ty, "llvm.arithmetic.fence", value)
    bits = T.reinterpret(rounded + _all(TO_INTEGER, "float32", lanes), dtype=str(zero.ty))
    shift = _all(TO_INTEGER_BITS, "int32", lanes)
    bits = tirx.max(tirx.min(bits, high - zero + shift), low - zero + shift)
    found = tirx.Cast(str(call.ty), bits)
    return found if _is(zero, 0) else found + tirx.Cast(str(call.ty), zero)


def _part(value: tirx.Expr, first: int, lanes: int) -> tirx.Expr:
    """`lanes` of `value` from `first` on."""
    if isinstance(value, tirx.Broadcast):
        return value.value if lanes == 1 else T.broadcast(value.value, lanes)
    if _lanes(value.ty) == lanes:
        return value
    return T.Shuffle([value], list(range(first, first + lanes)))


def _all(number: float, dtype: str, lanes: int) -> tirx.Expr:
    value = tirx.const(number, dtype)
    return value if lanes == 1 else T.broadcast(value, lanes)


def _is(value: Any, number: int) -> bool:
    """Whether all lanes are that constant."""
    inner = value.value if isinstance(value, tirx.Broadcast) else value
    return isinstance(inner, tirx.IntImm) and int(inner) == number


def _element(dtype: Any) -> str:
    return str(dtype).partition("x")[0]


def _lanes(dtype: Any) -> int:
    return int(tvm.DataType(str(dtype)).lanes)
