"""Bring MatMulInteger and ConvInteger into the integer form.

    integer_matmul(a, w, z_a, z_w)   -> dense(a, w - z_w) - z_a * columns(w - z_w)
    integer_conv2d(x, w, z_x, z_w)   -> conv2d(x, w - z_w) - z_x * windows(w - z_w)

w and z_w constant; z_a and z_x single values that may be computed (DynamicQuantizeLinear). windows
are the sums of the weights that lie inside the image, a constant per position. Left alone, and
computed as they are: weights whose zero point cannot be taken into int8 codes, computed weights.
"""

from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax
from tvm.ir import IRModule

from qcompile.ops import conv2d, dense
from qcompile.ops.integer_sources import INTEGER_CONV2D, INTEGER_MATMUL
from qcompile.passes.facts import Codes, constant, every_code, vector
from qcompile.passes.integer_weights import Weights, signed_weights, sums_fit
from qcompile.passes.rewriter import (
    BindingRewriter,
    dtype_of,
    operator_name,
    rewrite_functions,
    shape_of,
)

BITS = 8
LARGEST_CODE = 255


class _IntegerSources(BindingRewriter):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        rule = {INTEGER_MATMUL: self._matmul, INTEGER_CONV2D: self._conv2d}.get(operator_name(call))
        if rule is None or (len(shape_of(call.args[2])) and np.prod(shape_of(call.args[2])) != 1):
            return None
        return rule(call, name)

    def _weights(self, call: tvm.ir.Call, axis: int) -> Weights | None:
        """The constant second operand without its zero point, output channels first."""
        w, zero = (constant(self.definition(argument)) for argument in call.args[1::2])
        if w is None or zero is None or zero.size not in (1, w.shape[axis]):
            return None
        one = np.ones((), "float32")
        codes = Codes(call.args[1], one, zero.reshape(-1).astype("int64"), axis, BITS, False)
        weights = signed_weights(codes, w, axis)
        exact = weights is not None and not weights.zero.any() and sums_fit(weights, LARGEST_CODE)
        return weights if exact else None

    def _matmul(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        a, b, zero, _ = call.args
        if len(shape_of(b)) != 2 or len(shape_of(a)) < 2:
            return None
        weights = self._weights(call, axis=1)
        if weights is None:
            return None
        none = vector(np.zeros(len(weights.codes)), "int32")
        codes = vector(weights.codes, "int8")
        attributes: dict[str, Any] = {"bits": (BITS, BITS), "codes": every_code(a), "layer": name}
        product = dense(a, codes, none, zero_point=0, **attributes)
        columns = weights.codes.astype("int64").sum(axis=1)
        return self._less(self.emit(product, name), zero, columns)

    def _conv2d(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        x, _, zero, _ = call.args
        weights = self._weights(call, axis=0)
        if weights is None or len(shape_of(x)) != 4:
            return None
        strides, padding, dilation = (
            [int(value) for value in call.attrs[key]] for key in ("strides", "padding", "dilation")
        )
        geometry = {"strides": strides, "padding": padding, "dilation": dilation}
        kernel = np.ascontiguousarray(weights.codes.transpose(0, 2, 3, 1))
        image = self.emit(relax.op.permute_dims(x, [0, 2, 3, 1]))
        product = conv2d(
            image,
            vector(kernel, "int8"),
            vector(np.zeros(len(kernel)), "int32"),
            **geometry,
            groups=int(call.attrs["groups"]),
            zero_point=0,
            bits=(BITS, BITS),
            codes=every_code(image),
            layer=name,
        )
        windows = _windows(kernel, shape_of(x)[2:], shape_of(call)[2:], geometry)
        total = self.emit(self._less(self.emit(product, name), zero, windows))
        return relax.op.permute_dims(total, [0, 3, 1, 2])

    def _less(self, total: relax.Expr, zero: relax.Expr, sums: NDArray[np.int64]) -> relax.Expr:
        """total - zero * sums."""
        array = constant(self.definition(zero))
        if array is not None and not array.any():
            return total
        if array is not None:
            return relax.op.subtract(total, vector(sums * int(array.reshape(-1)[0]), "int32"))
        wide = zero if dtype_of(zero) == "int32" else self.emit(relax.op.astype(zero, "int32"))
        single = self.emit(relax.op.reshape(wide, ()))
        return relax.op.subtract(total, self.emit(relax.op.multiply(single, vector(sums, "int32"))))


def _windows(
    kernel: NDArray[np.int8],
    size: tuple[int, ...],
    output: tuple[int, ...],
    geometry: dict[str, list[int]],
) -> NDArray[np.int64]:
    """Sums of the weights inside the image at every position: (1, OH, OW, O)."""
    inside = []
    for axis in (0, 1):
        start = np.arange(output[axis]) * geometry["strides"][axis] - geometry["padding"][axis]
        taps = np.arange(kernel.shape[axis + 1]) * geometry["dilation"][axis]
        position = start[:, None] + taps
        inside.append((position >= 0) & (position < size[axis]))
    taps = kernel.astype("int64").sum(axis=3)
    return np.einsum("iu,jv,ouv->ijo", *inside, taps)[None]


@tvm.transform.module_pass(opt_level=0, name="IntegerSources")
class IntegerSources:
    def transform_module(self, mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        return rewrite_functions(mod, _IntegerSources)
