"""Look up chains of elementwise operators between 8-bit codes.

    quantize(f(g(dequantize(x, s, z)))) -> table(x, [the code of every x])

f, g: elementwise with one operand that is not constant (sigmoid, tanh, gelu, clip, x * c, x + c,
x * sigmoid(x), …); x of up to 8 bits with one scale. The 256 entries are computed by NumPy in
float32, operator by operator, as the model states them. Left alone: a chain of a dequantize alone
(a requantize is cheaper), per-channel parameters.
"""

import numpy as np
import tvm
from tvm import relax
from tvm.ir import IRModule

from qcompile.ops import table
from qcompile.ops.quantize import code_range
from qcompile.passes.chains import Array, codes_made, evaluate, source_of
from qcompile.passes.facts import Codes, constant
from qcompile.passes.rewriter import (
    BindingRewriter,
    operator_name,
    rewrite_functions,
    shape_of,
)


class _Tabulate(BindingRewriter):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        if operator_name(call) != "qcompile.quantize" or int(call.attrs["bits"]) > 8:
            return None
        parameters = [constant(argument) for argument in call.args[1:]]
        if any(array is None or array.size != 1 for array in parameters):
            return None
        codes = source_of(self, call.args[0], _single)
        if codes is None or not codes.per_tensor or not codes.eight_bits:
            return None
        if shape_of(codes.data) != shape_of(call):
            return None
        if operator_name(self.definition(call.args[0])) == "qcompile.dequantize":
            return None
        low = -128 if codes.dtype == "int8" else 0
        every = np.arange(low, low + 256)
        with np.errstate(all="ignore"):
            real = evaluate(self, call.args[0], every)
            entries = codes_made(call, real)
        if not np.isfinite(real[_reachable(codes, every)]).all():
            return None
        return table(codes.data, relax.const(entries, str(entries.dtype)))


def _single(_: tvm.ir.Call, arrays: list[Array | None]) -> bool:
    return all(array is None or array.size == 1 for array in arrays)


def _reachable(codes: Codes, every: Array) -> Array:
    low, high = code_range(codes.bits, codes.signed, codes.narrow)
    return (every >= low) & (every <= high)


@tvm.transform.module_pass(opt_level=0, name="Tabulate")
class Tabulate:
    def transform_module(self, mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        return rewrite_functions(mod, _Tabulate)
