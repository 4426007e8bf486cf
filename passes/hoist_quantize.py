"""Quantize before values are moved, so that codes are moved instead of floats.

    quantize(f(x), s, z) -> f(quantize(x, s, z))

f: permute_dims, reshape and its kin, strided_slice, max_pool2d (rounding and clamping keep the
order), nearest resize2d, concat (every operand is quantized). One scale; a value that others read
as float stays as it is.
"""

import tvm
from tvm import relax
from tvm.ir import IRModule

from qcompile.ops import quantize
from qcompile.passes.rewriter import (
    BindingRewriter,
    operator_name,
    rewrite_functions,
    shape_of,
)
from qcompile.passes.sink_dequantize import RESHAPES

MOVES = (
    *RESHAPES,
    "relax.permute_dims",
    "relax.strided_slice",
    "relax.nn.max_pool2d",
    "relax.image.resize2d",
)


class _HoistQuantize(BindingRewriter):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        if operator_name(call) != "qcompile.quantize" or len(shape_of(call.args[1])) > 0:
            return None
        return self._hoisted(call, call.args[0], name)

    def _hoisted(self, call: tvm.ir.Call, value: relax.Expr, name: str) -> relax.Expr | None:
        moved = self.call_of(value, *MOVES, "relax.concat")
        if moved is None or self.reads.get(value, 0) != 1 or not _keeps_values(moved):
            return None
        if operator_name(moved) == "relax.concat":
            parts = [self._quantized(call, field, name) for field in moved.args[0].fields]
            return relax.op.concat(parts, int(moved.attrs.axis))
        if operator_name(moved) in RESHAPES:
            return relax.op.reshape(self._quantized(call, moved.args[0], name), shape_of(value))
        codes = self._quantized(call, moved.args[0], name)
        return tvm.ir.Call(moved.op, [codes, *moved.args[1:]], moved.attrs, moved.ty_args)

    def _quantized(self, call: tvm.ir.Call, value: relax.Expr, name: str) -> relax.Var:
        further = self._hoisted(call, value, name)
        if further is not None:
            return self.emit(further, name)
        attributes = call.attrs
        codes = quantize(
            value,
            *call.args[1:],
            axis=-1,
            bits=int(attributes["bits"]),
            signed=bool(attributes["signed"]),
            narrow=bool(attributes["narrow"]),
            rounding=str(attributes["rounding"]),
        )
        return self.emit(codes, name)


def _keeps_values(call: tvm.ir.Call) -> bool:
    if operator_name(call) != "relax.image.resize2d":
        return True
    return str(call.attrs.method) == "nearest_neighbor"


@tvm.transform.module_pass(opt_level=0, name="HoistQuantize")
class HoistQuantize:
    def transform_module(self, mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        return rewrite_functions(mod, _HoistQuantize)
