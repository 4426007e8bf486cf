"""Scalar building blocks shared by kernels: products that no addition may contract."""

import tvm.ir._ffi_api
from tvm import tirx
from tvm.ir import register_op_attr

UNFUSED = "qcompile.unfused"


def register_arithmetic() -> None:
    """Register the intrinsic `qcompile.unfused` and its lowering; calling it again is harmless."""
    if UNFUSED in tvm.ir._ffi_api.ListOpNames():
        return
    tvm.ir._ffi_api.RegisterOp(UNFUSED, "A float32 value that no later operation may contract.")
    register_op_attr(UNFUSED, "TVectorizable", True)
    register_op_attr(UNFUSED, "TScriptPrinterName", "unfused")
    register_op_attr(UNFUSED, "TCallEffectKind", int(tirx.CallEffectKind.Pure.value))
    tirx.register_intrin_lowering(
        UNFUSED,
        target="llvm",
        f=lambda call: tirx.call_llvm_pure_intrin(call.ty, "llvm.arithmetic.fence", call.args[0]),
    )


def unfused(value: tirx.Expr) -> tirx.Expr:
    """`value` (float32), kept as a rounded result of its own.

    LLVM contracts `a * b + c` into one instruction with one rounding; quantized epilogues are
    specified with two.
    """
    register_arithmetic()
    return tirx.call_intrin("float32", tvm.ir.Op.get(UNFUSED), value)
