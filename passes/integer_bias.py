"""Add biases to the accumulators when they are whole multiples of the accumulators' scale.

    add(dequantize(y, s, 0), b) -> dequantize(y + b / s, s, 0)

y: the int32 result of qcompile.conv2d or qcompile.dense, or of one such minus what the zero points
of its weights add (integer_conv2d.py); s: one scale per output channel (or one in all); b: a
constant along the channels, a dequantized int32 with the same scale or floats that are multiples of
it. Left alone: other floats, which stay one float32 addition; sums that others read;
biases beyond half the range of an int32, the other half of which is proved to hold the products.
"""

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax
from tvm.ir import IRModule

from qcompile.ops import dequantize
from qcompile.ops.contractions import CONV2D, DENSE
from qcompile.ops.registry import call_op
from qcompile.passes.facts import Codes, array_of, codes_behind, codes_of, constant, vector
from qcompile.passes.integer_weights import INT32_MAX
from qcompile.passes.rewriter import (
    BindingRewriter,
    operator_name,
    rewrite_functions,
    shape_of,
)

LARGEST = INT32_MAX // 2
SAME_SCALE = 1e-6  # a float32 product of two scales is this close to their exact product


class _IntegerBias(BindingRewriter):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        if operator_name(call) != "relax.add":
            return None
        for value, bias in (call.args, reversed(call.args)):
            codes = codes_behind(self, value)
            product = None if codes is None else self._product(codes.data)
            if codes is None or product is None or shape_of(call) != shape_of(value):
                continue
            integers = self._integers(bias, codes, shape_of(value)[-1])
            if integers is None or self.reads.get(value) != 1:
                continue
            total = array_of(product.args[2]).astype("int64") + integers
            if np.abs(total).max(initial=0) <= LARGEST:
                return self._with_bias(product, total, codes, value)
        return None

    def _product(self, sums: relax.Expr) -> tvm.ir.Call | None:
        """The convolution or product whose sums these are, of weights with or without zeros."""
        corrected = self.call_of(sums, "relax.subtract")
        if corrected is None:
            return self.call_of(sums, CONV2D, DENSE)
        product = self.call_of(corrected.args[0], CONV2D, DENSE)
        excess = self.call_of(corrected.args[1], "relax.multiply")
        if product is None or excess is None:
            return None
        repeated = self.call_of(excess.args[0], "relax.repeat")
        windows = excess.args[0] if repeated is None else repeated.args[0]
        ones = self.call_of(windows, CONV2D, DENSE)
        same = ones is not None and str(ones.attrs["layer"]) == str(product.attrs["layer"])
        return product if same else None

    def _integers(self, bias: relax.Expr, codes: Codes, channels: int) -> NDArray[np.int64] | None:
        """`bias` in units of the accumulators' scale, (channels,), when it is whole."""
        behind = self.call_of(bias, "qcompile.dequantize")
        scale = codes.scale.astype("float64").reshape(-1)
        if behind is not None:
            own = codes_of(self, behind)
            array = None if own is None else constant(self.definition(own.data))
            if own is None or array is None or own.zero.any() or not _along_last(array, channels):
                return None
            if not np.allclose(own.scale.reshape(-1), scale, rtol=SAME_SCALE, atol=0):
                return None
            whole: NDArray[np.int64] | None = array.reshape(-1).astype("int64")
        else:
            array = constant(self.definition(bias))
            if array is None or not _along_last(array, channels):
                return None
            whole = _multiples(array.reshape(-1).astype("float64"), scale)
        if whole is None or np.abs(whole).max(initial=0) > LARGEST:
            return None
        return np.broadcast_to(whole, (channels,))

    def _with_bias(
        self, product: tvm.ir.Call, integers: NDArray[np.int64], codes: Codes, value: relax.Expr
    ) -> relax.Expr:
        bias = vector(integers, "int32")
        attributes = dict(product.attrs.items())
        total = self.emit(
            call_op(str(product.op.name), [*product.args[:2], bias], **attributes),
            str(attributes["layer"]),
        )
        corrected = self.call_of(codes.data, "relax.subtract")
        if corrected is not None:
            total = self.emit(relax.op.subtract(total, corrected.args[1]))
        scale, zero = self.definition(value).args[1:]
        return dequantize(total, scale, zero, axis=codes.axis, bits=32, signed=True)


def _along_last(array: NDArray[np.generic], channels: int) -> bool:
    """Whether a constant varies along the last axis at most."""
    return array.size == 1 or (array.size == channels and array.shape[-1] == channels)


def _multiples(values: NDArray[np.float64], scale: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """What times `scale` is `values` in float32, or None. A dead channel's scale is 0."""
    values, scale = np.broadcast_arrays(values, scale)
    ratio = np.divide(values, scale, out=np.zeros_like(values), where=scale != 0)
    if not (np.abs(ratio) <= LARGEST).all():
        return None
    whole = np.rint(ratio).astype("int64")
    same = np.array_equal((whole * scale).astype("float32"), values.astype("float32"))
    return whole if same else None


@tvm.transform.module_pass(opt_level=0, name="IntegerBias")
class IntegerBias:
    def transform_module(self, mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        return rewrite_functions(mod, _IntegerBias)
