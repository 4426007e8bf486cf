"""Compute float32 exp, sigmoid, tanh, erf and log without calls to the C library.

    T.exp(x)  ->  qcompile.exp(x)      and sigmoid, tanh, erf, log alike; x: float32

The intrinsics are those of `qcompile.schedules.polynomials`; they vectorize. Other types, and
functions that LLVM vectorizes (sqrt, floor) or that are rare in networks (pow, sin), are left
alone. Before scheduling: `qcompile.schedules.schedule` adds what the intrinsics need.
"""

import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir import IRModule

from qcompile.schedules.polynomials import FUNCTIONS, register_polynomials


def PolynomialMath() -> tvm.transform.Pass:  # noqa: N802 (passes are named so)
    """The pass, for every PrimFunc of a module."""

    def transform(mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        register_polynomials()
        functions = {
            var: _replaced(function) if isinstance(function, tirx.PrimFunc) else function
            for var, function in mod.functions.items()
        }
        return IRModule(functions, attrs=mod.attrs)

    return tvm.transform.module_pass(transform, opt_level=0, name="PolynomialMath")


def _replaced(function: tirx.PrimFunc) -> tirx.PrimFunc:
    def replace(call: tvm.ir.Call) -> tvm.ir.Call:
        name = getattr(call.op, "name", "").removeprefix("tirx.")
        if name not in FUNCTIONS or str(call.ty) != "float32":
            return call
        return tirx.call_intrin("float32", tvm.ir.Op.get(f"qcompile.{name}"), call.args[0])

    return function.with_body(tvm_ffi.structural_map(function.body, (tvm.ir.Call, replace)))
