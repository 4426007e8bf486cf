"""Quantize before values are moved, so that codes are moved instead of floats.

    quantize(f(x), s, z) -> f(quantize(x, s, z))

f: permute_dims, reshape and its kin, strided_slice, max_pool2d (rounding and clamping keep the
order where s is positive), nearest resize2d, concat (every operand is quantized). One scale and one
zero point; a value that others read as float stays as it is.
"""

from math import prod

import tvm
from tvm import relax
from tvm.ir import IRModule

from qcompile.ops import quantize
from qcompile.passes.facts import constant
from qcompile.passes.rewriter import (
    BindingRewriter,
    operator_name,
    rewrite_functions,
    shape_of,
)
from qcompile.passes.sink_dequantize import RESHAPES, keeps_values

MOVES = ("relax.permute_dims", "relax.concat", *RESHAPES)
SELECTIONS = ("relax.strided_slice", "relax.nn.max_pool2d", "relax.image.resize2d")


class _HoistQuantize(BindingRewriter):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        if operator_name(call) != "qcompile.quantize":
            return None
        if any(prod(shape_of(parameter)) != 1 for parameter in call.args[1:]):
            return None
        return self._hoisted(call, call.args[0], name)

    def _hoisted(self, call: tvm.ir.Call, value: relax.Expr, name: str) -> relax.Expr | None:
        moved = self.call_of(value, *MOVES, *SELECTIONS)
        if moved is None or self.reads.get(value, 0) != 1:
            return None
        if operator_name(moved) == "relax.concat":
            return self._joined(call, moved, name)
        if operator_name(moved) in SELECTIONS and not keeps_values(moved, _positive(call)):
            return None
        if operator_name(moved) in RESHAPES:
            return relax.op.reshape(self._quantized(call, moved.args[0], name), shape_of(value))
        codes = self._quantized(call, moved.args[0], name)
        return tvm.ir.Call(moved.op, [codes, *moved.args[1:]], moved.attrs, moved.ty_args)

    def _joined(self, call: tvm.ir.Call, joined: tvm.ir.Call, name: str) -> relax.Expr | None:
        fields = self.fields(joined.args[0])
        if not fields or joined.attrs.axis is None:
            return None
        parts = [self._quantized(call, field, name) for field in fields]
        return relax.op.concat(parts, int(joined.attrs.axis))

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


def _positive(call: tvm.ir.Call) -> bool:
    """Whether larger values get larger codes."""
    scale = constant(call.args[1])
    return scale is not None and bool(scale > 0)


@tvm.transform.module_pass(opt_level=0, name="HoistQuantize")
class HoistQuantize:
    def transform_module(self, mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        return rewrite_functions(mod, _HoistQuantize)
