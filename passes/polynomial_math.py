"""Compute float32 exp, sigmoid, tanh, erf and log without calls to the C library.

    T.exp(x)  ->  qcompile.exp(x)      and sigmoid, tanh, erf, log alike; x: float32

`qcompile.exp` and the others vectorize; LLVM lowering writes them as the polynomials of
`qcompile.schedules.polynomials`. Other types, and functions that LLVM vectorizes (sqrt, floor) or
that are rare in networks (pow, sin), are left alone.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import scipy.special
import tvm
import tvm.ir._ffi_api
import tvm_ffi
from tvm import tirx
from tvm.ir import IRModule, register_op_attr
from tvm.sym import Analyzer

from qcompile.schedules import polynomials

FUNCTIONS = {
    "exp": (polynomials.exp, np.exp),
    "sigmoid": (polynomials.sigmoid, scipy.special.expit),
    "tanh": (polynomials.tanh, np.tanh),
    "erf": (polynomials.erf, scipy.special.erf),
    "log": (polynomials.log_, np.log),
}


def register_polynomials() -> None:
    """Register the intrinsics `qcompile.exp` ... and their lowering; once is enough."""
    known = set(tvm.ir._ffi_api.ListOpNames())
    for name, (function, exact) in FUNCTIONS.items():
        own = f"qcompile.{name}"
        if own in known:
            continue
        tvm.ir._ffi_api.RegisterOp(own, f"{name} of float32 by polynomials.")
        register_op_attr(own, "TVectorizable", True)
        register_op_attr(own, "TScriptPrinterName", f"polynomial_{name}")
        register_op_attr(own, "TCallEffectKind", int(tirx.CallEffectKind.Pure.value))
        tirx.register_intrin_lowering(own, target="llvm", f=partial(_lowered, function, exact))


def _lowered(
    function: Callable[[tirx.Expr], tirx.Expr],
    exact: Callable[[float], float],
    call: tvm.ir.Call,
) -> tirx.Expr:
    """The polynomial, or its value for a constant.

    LowerIntrin visits the result again, and fails where it simplifies a `Let` of the first visit.
    """
    argument = call.args[0]
    variables: list[tirx.Var] = []
    tvm_ffi.structural_walk(argument, (tirx.Var, variables.append))
    if not variables:
        argument = Analyzer().simplify(argument)
    scalar = argument.value if isinstance(argument, tirx.Broadcast) else argument
    if isinstance(scalar, tirx.FloatImm):
        with np.errstate(all="ignore"):
            return tirx.const(float(np.float32(exact(float(scalar.value)))), str(call.ty))
    return function(argument)


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
