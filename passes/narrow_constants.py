"""Store constants that repeat along an axis once along it, where the operator spreads them again.

    f(x, c), c equal to broadcast(b, shape of x)  -> f(x, b), b of extent 1 along those axes

f: add, subtract, multiply, divide, maximum, minimum, where, comparisons. Exporters expand biases
and scales of channels to whole images; narrow ones fold into the layer before. Left alone: operands
without which the result would have another shape.
"""

from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax
from tvm.ir import IRModule

from qcompile.passes.facts import constant
from qcompile.passes.rewriter import (
    BindingRewriter,
    operator_name,
    rewrite_functions,
    shape_of,
)

SPREADING = {
    *(f"relax.{name}" for name in ("add", "subtract", "multiply", "divide", "maximum", "minimum")),
    *(f"relax.{name}" for name in ("greater", "greater_equal", "less", "less_equal", "equal")),
    *(f"relax.{name}" for name in ("not_equal", "where")),
}


class _NarrowConstants(BindingRewriter):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        if operator_name(call) not in SPREADING:
            return None
        arrays = [constant(self.definition(argument)) for argument in call.args]
        wide = [a for a, array in zip(call.args, arrays, strict=True) if array is None]
        if not any(shape_of(argument) == shape_of(call) for argument in wide):
            return None
        arguments = [
            argument if array is None else _narrowed(argument, array)
            for argument, array in zip(call.args, arrays, strict=True)
        ]
        if all(new.same_as(old) for new, old in zip(arguments, call.args, strict=True)):
            return None
        return tvm.ir.Call(call.op, arguments, call.attrs, call.ty_args)


def _narrowed(argument: relax.Expr, array: NDArray[Any]) -> relax.Expr:
    """The constant without what repeats, or itself when nothing does."""
    repeating = [
        axis
        for axis, extent in enumerate(array.shape)
        if extent > 1 and (array == array.take([0], axis)).all()
    ]
    if not repeating:
        return argument
    for axis in repeating:
        array = array.take([0], axis)
    return relax.const(np.ascontiguousarray(array), str(array.dtype))


@tvm.transform.module_pass(opt_level=0, name="NarrowConstants")
class NarrowConstants:
    def transform_module(self, mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        return rewrite_functions(mod, _NarrowConstants)
