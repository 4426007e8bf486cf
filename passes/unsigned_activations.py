"""Store quantized activations as unsigned codes.

    dequantize(quantize(x, s, z)), signed codes whose lowest is -l
        -> dequantize(quantize(x, s, z + l)), unsigned codes of as many bits

Kernels of int8 take unsigned data, as the dot products of x86 do; the values are the same. Left
alone: codes that anything but a dequantize reads (they are somebody's integers), bipolar codes,
more than 8 bits, zero points that would not be uint8.
"""

from collections import defaultdict
from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax
from tvm.ir import IRModule

from qcompile.ops import dequantize, quantize
from qcompile.ops.quantize import code_range, is_bipolar
from qcompile.passes.facts import array_of, constant, is_dequantize
from qcompile.passes.rewriter import BindingRewriter, operator_name, rewrite_functions

MAX_BITS = 8
UINT8_MAX = 255


class _UnsignedActivations(BindingRewriter):
    def __init__(self) -> None:
        super().__init__()
        self._shifts: dict[relax.Expr, int] = {}
        self._dequantizes: defaultdict[relax.Var, list[tvm.ir.Call]] = defaultdict(list)

    def transform(self, function: relax.Function) -> relax.Function:
        for block in function.body.blocks:
            for binding in block.bindings:
                if isinstance(binding, relax.VarBinding) and is_dequantize(binding.value):
                    self._dequantizes[binding.value.args[0]].append(binding.value)
        return super().transform(function)

    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        operator = operator_name(call)
        if operator == "qcompile.quantize" and self._may_shift(call):
            shift = _shift(call)
            var = self.emit(quantize(*_shifted(call, shift), **_attributes(call)), name)
            self._shifts[var] = shift
            return var
        if operator == "qcompile.dequantize" and call.args[0] in self._shifts:
            shift = self._shifts[call.args[0]]
            return dequantize(*_shifted(call, shift), **_attributes(call))
        return None

    def _may_shift(self, call: tvm.ir.Call) -> bool:
        bits, signed, narrow = (int(call.attrs[key]) for key in ("bits", "signed", "narrow"))
        if not signed or bits > MAX_BITS or is_bipolar(bits, bool(signed), bool(narrow)):
            return False
        if self.reading is None or set(self.readers(self.reading)) != {"qcompile.dequantize"}:
            return False
        zeros = (constant(c.args[2]) for c in (call, *self._dequantizes[self.reading]))
        return all(zero is not None and _is_uint8(zero, _shift(call)) for zero in zeros)


def _shift(call: tvm.ir.Call) -> int:
    """What makes the lowest signed code of a quantize 0."""
    low, _ = code_range(int(call.attrs["bits"]), True, bool(call.attrs["narrow"]))
    return -low


def _is_uint8(zero: NDArray[np.integer[Any]], shift: int) -> bool:
    shifted = zero.astype("int64") + shift
    return bool(shifted.min() >= 0 and shifted.max() <= UINT8_MAX)


def _shifted(call: tvm.ir.Call, shift: int) -> tuple[relax.Expr, relax.Expr, relax.Expr]:
    zero = (array_of(call.args[2]).astype("int64") + shift).astype("uint8")
    return call.args[0], call.args[1], relax.const(zero, "uint8")


def _attributes(call: tvm.ir.Call) -> dict[str, Any]:
    """The attributes of quantize or dequantize, for unsigned codes."""
    attributes: dict[str, Any] = {
        "axis": int(call.attrs["axis"]),
        "bits": int(call.attrs["bits"]),
        "narrow": bool(call.attrs["narrow"]),
        "signed": False,
    }
    if operator_name(call) == "qcompile.quantize":
        attributes["rounding"] = str(call.attrs["rounding"])
    return attributes


@tvm.transform.module_pass(opt_level=0, name="UnsignedActivations")
class UnsignedActivations:
    def transform_module(self, mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        return rewrite_functions(mod, _UnsignedActivations)
