"""Give TVM's own quantize and dequantize the form the other passes read.

    relax.quantize(x, s, z, axis, dtype)   -> qcompile.quantize(x, s, z), bits and sign of dtype
    relax.dequantize(q, s, z, axis)        -> qcompile.dequantize(q, s, z)

Left alone: parameters that are no constants, float results other than float32, 8-bit floats.
"""

import tvm
from tvm import relax
from tvm.ir import IRModule

from qcompile.ops import dequantize, quantize
from qcompile.passes.facts import constant
from qcompile.passes.rewriter import (
    BindingRewriter,
    dtype_of,
    operator_name,
    rewrite_functions,
)

WIDTHS = {"int8": (8, True), "uint8": (8, False), "int16": (16, True), "uint16": (16, False)}


class _OwnQuantize(BindingRewriter):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        operator = operator_name(call)
        if operator not in ("relax.quantize", "relax.dequantize"):
            return None
        x, scale, zero = call.args
        factor = constant(scale)
        if factor is None or constant(zero) is None:
            return None
        axis = int(call.attrs.axis)
        integers = str(call.attrs.out_dtype) if operator == "relax.quantize" else dtype_of(x)
        if operator == "relax.dequantize" and integers == "int32":
            return dequantize(x, scale, zero, axis=axis, bits=32, signed=True)
        if integers not in WIDTHS or str(factor.dtype) != "float32":
            return None
        bits, signed = WIDTHS[integers]
        rewritten = quantize if operator == "relax.quantize" else dequantize
        return rewritten(x, scale, zero, axis=axis, bits=bits, signed=signed)


@tvm.transform.module_pass(opt_level=0, name="OwnQuantize")
class OwnQuantize:
    def transform_module(self, mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        return rewrite_functions(mod, _OwnQuantize)
