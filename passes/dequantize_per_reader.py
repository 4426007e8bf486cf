"""Give every reader of a dequantize a dequantize of its own.

    y = dequantize(x); f(y); g(y) -> f(dequantize(x)); g(dequantize(x))

TVM fuses an elementwise operator with several readers into its producer, which then writes
float32; with one reader each, the codes are written and every reader widens them in registers.
Left alone: sums (int32), which are as wide as floats.
"""

import tvm
from tvm import relax
from tvm.ir import IRModule

from qcompile.passes.facts import is_dequantize
from qcompile.passes.rewriter import BindingRewriter, rewrite_functions

FLOAT_BITS = 32


class _DequantizePerReader(BindingRewriter):
    def __init__(self) -> None:
        super().__init__()
        self._taken: set[relax.Var] = set()

    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        if not any(self._shared(argument) for argument in call.args):
            return None
        arguments = [self._own(argument) for argument in call.args]
        return tvm.ir.Call(call.op, arguments, call.attrs, call.ty_args)

    def _shared(self, argument: relax.Expr) -> bool:
        if isinstance(argument, relax.Tuple):
            return any(self._shared(field) for field in argument.fields)
        call = self.definition(argument)
        codes = is_dequantize(call) and int(call.attrs["bits"]) < FLOAT_BITS
        return isinstance(argument, relax.Var) and codes

    def _own(self, argument: relax.Expr) -> relax.Expr:
        if isinstance(argument, relax.Tuple):
            return relax.Tuple([self._own(field) for field in argument.fields])
        if not self._shared(argument):
            return argument
        if argument not in self._taken:
            self._taken.add(argument)
            return argument
        copy = self.emit(self.definition(argument))
        self._taken.add(copy)
        return copy


@tvm.transform.module_pass(opt_level=0, name="DequantizePerReader")
class DequantizePerReader:
    def transform_module(self, mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        return rewrite_functions(mod, _DequantizePerReader)
