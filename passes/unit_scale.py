"""Quantize by a scale of 1 where the scale is a power of two: what is summed up has it instead.

    quantize(dequantize(x, s_x) + c + dequantize(y, s_y), 2^k, z)
        -> quantize(dequantize(x, s_x / 2^k) + c / 2^k + dequantize(y, s_y / 2^k), 1, z)

x, y: codes or int32 sums; any sum, difference or relu of such terms. Exact: every product and sum
is the same float32 times a power of two, and none is so small or large that bits would be lost. A
residual stream of that scale costs no product then, neither where it is read nor where it is
written. Left alone: values that others read as well, which would be computed twice.
"""

from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax
from tvm.ir import IRModule

from qcompile.ops import dequantize, quantize
from qcompile.ops.quantize import is_bipolar
from qcompile.passes.facts import codes_of, constant, scalar
from qcompile.passes.rewriter import BindingRewriter, operator_name, rewrite_functions

# Of all constants, before and after: sums are then multiples of 2^-84, which are normal numbers,
# and at most 2^60 * 2^31 times the terms of a sum.
LARGEST_EXPONENT = 60
SUMS = ("relax.add", "relax.subtract", "relax.nn.relu")


class _UnitScale(BindingRewriter):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        if operator_name(call) != "qcompile.quantize":
            return None
        attributes = call.attrs
        bits, signed, narrow = (int(attributes[key]) for key in ("bits", "signed", "narrow"))
        factor = _reciprocal(constant(call.args[1]))
        if factor is None or is_bipolar(bits, bool(signed), bool(narrow)):
            return None
        if not self._scalable(call.args[0], factor):
            return None
        return quantize(
            self._scaled(call.args[0], factor),
            scalar(1.0),
            call.args[2],
            axis=int(attributes["axis"]),
            bits=bits,
            signed=bool(signed),
            narrow=bool(narrow),
            rounding=str(attributes["rounding"]),
        )

    def _scalable(self, value: relax.Expr, factor: float) -> bool:
        """Whether `value` is a sum that nobody else reads, of terms with constant scales."""
        found = self.definition(value)
        array = constant(found)
        if array is not None:
            return array.dtype == np.float32 and _normal(array, factor)
        operator = operator_name(found)
        if operator == "qcompile.dequantize":
            codes = codes_of(self, found)
            once = self.reads.get(value) == 1
            return codes is not None and (once or codes.eight_bits) and _normal(codes.scale, factor)
        if operator not in SUMS or self.reads.get(value) != 1:
            return False
        return all(self._scalable(term, factor) for term in found.args)

    def _scaled(self, value: relax.Expr, factor: float) -> relax.Expr:
        """`value` * `factor`, in the place of a value that nobody else reads."""
        found = self.definition(value)
        array = constant(found)
        if array is not None:
            return _constant(array * np.float32(factor))
        if operator_name(found) == "qcompile.dequantize":
            codes = codes_of(self, found)
            assert codes is not None
            attributes: Any = found.attrs
            product: relax.Expr = dequantize(
                found.args[0],
                _constant(codes.scale * np.float32(factor)),
                found.args[2],
                axis=int(attributes["axis"]),
                bits=codes.bits,
                signed=codes.signed,
                narrow=codes.narrow,
            )
        else:
            terms = [self._scaled(term, factor) for term in found.args]
            product = tvm.ir.Call(found.op, terms, found.attrs, found.ty_args)
        return self.replace(value, product) if self.reads.get(value) == 1 else self.emit(product)


def _reciprocal(scale: NDArray[np.float32] | None) -> float | None:
    """1 / scale for a single power of two other than 1."""
    if scale is None or scale.size != 1:
        return None
    mantissa, exponent = np.frexp(scale.reshape(()))
    if mantissa != 0.5 or exponent == 1 or abs(exponent) > LARGEST_EXPONENT:
        return None
    return float(1 / scale.reshape(()))


def _normal(array: NDArray[np.float32], factor: float) -> bool:
    """Whether no entry, nor its product, is too small or large."""
    sizes = np.abs(array[array != 0]) * np.asarray([[1.0], [factor]])
    limits = 2.0**-LARGEST_EXPONENT, 2.0**LARGEST_EXPONENT
    return bool(np.all((limits[0] <= sizes) & (sizes <= limits[1])))


def _constant(array: Any) -> relax.Expr:
    return relax.const(np.asarray(array, "float32"), "float32")


@tvm.transform.module_pass(opt_level=0, name="UnitScale")
class UnitScale:
    def transform_module(self, mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        return rewrite_functions(mod, _UnitScale)
