"""Gather constant products and sums behind a convolution or matrix product.

    (v + c) * a                 -> v * a + c * a
    (v + c) + d                 -> v + (c + d)
    conv2d(x, w) * a            -> conv2d(x, w * a)
    matmul(x, w) * a            -> matmul(x, w * a)
    dequantize(y, s, 0) * a     -> dequantize(y, s * a, 0)

w constant; a, c and d constants along the output channels (or single values); y: int32 sums. Only
behind a convolution or product: elsewhere the order of roundings is the model's. Left alone: values
that others read as well. Computed in float64.
"""

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax
from tvm.ir import IRModule

from qcompile.ops import dequantize
from qcompile.passes.facts import array_of, codes_of, constant, scalar, vector
from qcompile.passes.rewriter import (
    BindingRewriter,
    operator_name,
    rewrite_functions,
    shape_of,
)

PRODUCTS = ("relax.nn.conv2d", "relax.matmul")


class _FoldAffine(BindingRewriter):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        operator = operator_name(call)
        if operator not in ("relax.add", "relax.multiply"):
            return None
        for value, other in (call.args, list(reversed(call.args))):
            array = constant(self.definition(other))
            if array is None or str(array.dtype) != "float32":
                continue
            if shape_of(call) != shape_of(value) or not self._behind_product(value):
                continue
            return (
                self._sum(value, array) if operator == "relax.add" else self._product(value, array)
            )
        return None

    def _behind_product(self, value: relax.Expr) -> bool:
        """Whether `value` is a product, or sums and factors of one, and read once at each step."""
        if self.reads.get(value) != 1:
            return False
        call = self.call_of(value, "relax.add", "relax.multiply", "qcompile.dequantize", *PRODUCTS)
        if call is None:
            return False
        operator = operator_name(call)
        if operator in PRODUCTS:
            return True
        if operator == "qcompile.dequantize":
            return int(call.attrs["bits"]) == 32 and constant(call.args[0]) is None
        return constant(call.args[1]) is not None and self._behind_product(call.args[0])

    def _sum(self, value: relax.Expr, array: NDArray[np.float32]) -> relax.Expr | None:
        inner = self.call_of(value, "relax.add")
        if inner is None:
            return None
        total = array_of(inner.args[1]).astype("float64") + array
        return relax.op.add(inner.args[0], vector(total, "float32"))

    def _product(self, value: relax.Var, array: NDArray[np.float32]) -> relax.Var | None:
        """`value` * `array`, in the place of `value`."""
        inner = self.definition(value)
        if operator_name(inner) == "relax.add":
            scaled = self._product(inner.args[0], array)
            if scaled is None:
                return None
            self.reads[scaled] = 1
            offset = array_of(inner.args[1]).astype("float64") * array
            return self.replace(value, relax.op.add(scaled, vector(offset, "float32")))
        channels = shape_of(value)[_channel_axis(inner)]
        if not _along(array, len(shape_of(value)), _channel_axis(inner), channels):
            return None
        factor = np.broadcast_to(array.reshape(-1).astype("float64"), (channels,))
        sums = operator_name(inner) == "qcompile.dequantize"
        product = (self._scaled_sums if sums else self._scaled_weights)(inner, factor)
        return None if product is None else self.replace(value, product)

    def _scaled_sums(self, call: tvm.ir.Call, factor: NDArray[np.float64]) -> relax.Expr | None:
        codes = codes_of(self, call)
        if codes is None or codes.zero.any() or codes.axis != len(shape_of(call)) - 1:
            return None
        scale = vector(codes.scale.reshape(-1) * factor, "float32")
        return dequantize(
            codes.data, scale, scalar(0, "int32"), axis=codes.axis, bits=32, signed=True
        )

    def _scaled_weights(
        self, product: tvm.ir.Call, factor: NDArray[np.float64]
    ) -> relax.Expr | None:
        weights = constant(product.args[1])
        if weights is None or not _channels_known(product, weights.ndim):
            return None
        convolution = operator_name(product) == "relax.nn.conv2d"
        spread = (-1, *(1,) * (weights.ndim - 1)) if convolution else (-1,)
        scaled = vector(weights * factor.reshape(spread), "float32")
        arguments = [product.args[0], scaled]
        return tvm.ir.Call(product.op, arguments, product.attrs, product.ty_args)


def _channels_known(product: tvm.ir.Call, rank: int) -> bool:
    """Whether the weights' output channels come first (convolution) or last (matrix)."""
    if operator_name(product) == "relax.nn.conv2d":
        return str(product.attrs.kernel_layout) == "OIHW"
    return operator_name(product) != "relax.matmul" or rank > 1


def _channel_axis(call: tvm.ir.Call) -> int:
    if operator_name(call) == "relax.nn.conv2d" and str(call.attrs.data_layout) == "NCHW":
        return 1
    return -1


def _along(array: NDArray[np.float32], rank: int, axis: int, channels: int) -> bool:
    """Whether a constant that broadcasts against `rank` axes varies along `axis` at most."""
    shape = (1,) * (rank - array.ndim) + array.shape
    return array.size == 1 or (array.size == channels and shape[axis] == channels)


@tvm.transform.module_pass(opt_level=0, name="FoldAffine")
class FoldAffine:
    def transform_module(self, mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        return rewrite_functions(mod, _FoldAffine)
