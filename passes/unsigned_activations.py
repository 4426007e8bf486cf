"""Store quantized activations as unsigned codes.

    dequantize(quantize(x, s, z)), signed codes of b bits
        -> dequantize(quantize(x, s, z + 2^(b-1))), unsigned codes of b bits

Dot product instructions of x86 take unsigned data; the values are the same. Left alone: codes that
anything but a dequantize reads (they are somebody's integers), more than 8 bits.
"""

from collections.abc import Callable
from typing import Any

import tvm
from tvm import relax
from tvm.ir import IRModule

from qcompile.ops import dequantize, quantize
from qcompile.passes.facts import array_of, constant
from qcompile.passes.rewriter import BindingRewriter, operator_name, rewrite_functions

MAX_BITS = 8


class _UnsignedActivations(BindingRewriter):
    def __init__(self) -> None:
        super().__init__()
        self._shifted: set[relax.Var] = set()

    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        operator = operator_name(call)
        if operator == "qcompile.quantize" and self._may_shift(call):
            var = self.emit(_unsigned(call, quantize), name)
            self._shifted.add(var)
            return var
        if operator == "qcompile.dequantize" and call.args[0] in self._shifted:
            return _unsigned(call, dequantize)
        return None

    def _may_shift(self, call: tvm.ir.Call) -> bool:
        return (
            bool(call.attrs["signed"])
            and int(call.attrs["bits"]) <= MAX_BITS
            and constant(call.args[2]) is not None
            and set(self.readers(self.reading)) == {"qcompile.dequantize"}
        )


def _unsigned(call: tvm.ir.Call, operator: Callable[..., tvm.ir.Call]) -> tvm.ir.Call:
    bits, narrow = int(call.attrs["bits"]), int(call.attrs["narrow"])
    zero = array_of(call.args[2]).astype("int64") + 2 ** (bits - 1) - narrow
    attributes: dict[str, Any] = {
        "axis": int(call.attrs["axis"]),
        "bits": bits,
        "narrow": bool(narrow),
    }
    if operator is quantize:
        attributes["rounding"] = str(call.attrs["rounding"])
    zero_point = relax.const(zero.astype("uint8"), "uint8")
    return operator(call.args[0], call.args[1], zero_point, signed=False, **attributes)


@tvm.transform.module_pass(opt_level=0, name="UnsignedActivations")
class UnsignedActivations:
    def transform_module(self, mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        return rewrite_functions(mod, _UnsignedActivations)
