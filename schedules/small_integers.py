"""Small integers as float32 by additions, where conversions have one of two pipes.

    float32(n)  ->  reinterpret(float32, n + 0x4B400000) - 1.5 * 2**23        |n| <= 2**22

At 1.5 * 2**23 float32 counts in ones, as its bits do: both steps are exact. So are codes of 8 bits,
and sums whose kernel says so: `small(n)` is n.
"""

from typing import Any

import tvm
import tvm.ir._ffi_api
import tvm_ffi
from tvm import tirx
from tvm.ir import register_op_attr
from tvm.script import tirx as T  # noqa: N812

from qcompile.schedules.saturation import TO_INTEGER, TO_INTEGER_BITS

SMALL = "qcompile.small"
LARGEST = 2**22
CODES = {"int8": 2**7, "uint8": 2**8 - 1}  # the largest code, or minus the smallest


def register_small() -> None:
    """Register the intrinsic and its lowering; twice is harmless."""
    if SMALL in tvm.ir._ffi_api.ListOpNames():
        return
    tvm.ir._ffi_api.RegisterOp(SMALL, "An int32 at most 2**22 from 0.")
    register_op_attr(SMALL, "TVectorizable", True)
    register_op_attr(SMALL, "TScriptPrinterName", "small")
    register_op_attr(SMALL, "TCallEffectKind", int(tirx.CallEffectKind.Pure.value))
    tirx.register_intrin_lowering(SMALL, target="llvm", f=lambda call: call.args[0])


def small(value: tirx.Expr) -> tirx.Expr:
    """`value` (int32), which is at most 2**22 from 0."""
    register_small()
    return tirx.call_intrin("int32", tvm.ir.Op.get(SMALL), value)


def told(value: tirx.Expr, is_small: bool) -> tirx.Expr:
    """`value`, which says that it is small where it is."""
    return small(value) if is_small else value


def add_instead_of_converting(body: Any) -> Any:
    """`body` with small integers made float32 by additions."""

    def added(cast: Any) -> tirx.Expr:
        if str(cast.ty) != "float32" or _size(cast.value) > LARGEST:
            return cast
        bits = cast.value.astype("int32") + tirx.const(TO_INTEGER_BITS, "int32")
        return T.reinterpret(bits, dtype="float32") - tirx.const(TO_INTEGER, "float32")

    return tvm_ffi.structural_map(body, (tirx.Cast, added))


def _size(value: Any) -> float:
    """How far an integer is from 0 at most."""
    dtype = str(value.ty)
    if dtype in CODES:
        return CODES[dtype]
    if dtype != "int32":
        return float("inf")
    if isinstance(value, tirx.IntImm):
        return abs(int(value))
    if isinstance(value, tirx.Cast):
        return _size(value.value)
    if isinstance(value, tirx.Add | tirx.Sub):
        return _size(value.a) + _size(value.b)
    name = getattr(getattr(value, "op", None), "name", "")
    return LARGEST if name == SMALL else float("inf")
