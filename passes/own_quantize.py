"""Give TVM's own quantize and dequantize the form the other passes read.

    relax.quantize(x, s, z, axis, dtype)   -> qcompile.quantize(x, s, z), bits and sign of dtype
    relax.dequantize(q, s, z, axis)        -> qcompile.dequantize(q, s, z)

Left alone: parameters that are no constants, floats other than float32, 8-bit floats, zero points
that are no codes.
"""

from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
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

WIDTHS = {
    "int8": (8, True),
    "uint8": (8, False),
    "int16": (16, True),
    "uint16": (16, False),
    "int32": (32, True),
}


class _OwnQuantize(BindingRewriter):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        operator = operator_name(call)
        if operator not in ("relax.quantize", "relax.dequantize"):
            return None
        x, scale, zero = call.args
        factor, shift = constant(scale), constant(zero)
        floats, integers = dtype_of(x), str(call.attrs.out_dtype)
        if operator == "relax.dequantize":
            floats, integers = integers, floats
        elif integers == "int32":
            return None
        if floats != "float32" or integers not in WIDTHS or factor is None or shift is None:
            return None
        if str(factor.dtype) != "float32" or not _are_codes(shift, integers):
            return None
        bits, signed = WIDTHS[integers]
        zero = relax.const(shift.astype(integers), integers)
        axis = int(call.attrs.axis)
        rewritten = quantize if operator == "relax.quantize" else dequantize
        return rewritten(x, scale, zero, axis=axis, bits=bits, signed=signed)


def _are_codes(zero: NDArray[Any], integers: str) -> bool:
    limits = np.iinfo(integers)
    whole = np.issubdtype(zero.dtype, np.integer)
    return bool(whole and zero.min() >= limits.min and zero.max() <= limits.max)


@tvm.transform.module_pass(opt_level=0, name="OwnQuantize")
class OwnQuantize:
    def transform_module(self, mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        return rewrite_functions(mod, _OwnQuantize)
