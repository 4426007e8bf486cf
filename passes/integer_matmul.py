"""Run matrix products of dequantized operands on the codes themselves.

    matmul(dequantize(a, s_a, z_a), dequantize(w, s_w, z_w))
        -> dequantize(qcompile.dense(a - z_a, (w - z_w).T), s_a * s_w, 0)
    matmul(dequantize(a, s_a, z_a), dequantize(b, s_b, z_b))
        -> dequantize(qcompile.batch_matmul(a - z_a, b - z_b), s_a * s_b, 0)

a: (..., M, K) int8 or uint8 with one scale; w: constant (K, N), scale and zero point per tensor or
per column; b: (..., K, N) int8 or uint8 with one scale and the leading axes of a. Weights whose
zero point cannot be taken into int8 codes cost the row sums of a. Left alone: everything whose
sums are not proved to fit an int32.
"""

from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm.ir import IRModule

from qcompile.ops import batch_matmul, dense, dequantize
from qcompile.passes.facts import Codes, codes_behind, constant_codes, scalar, vector
from qcompile.passes.integer_weights import (
    INT32_MAX,
    Weights,
    largest_code,
    signed_weights,
    sums_fit,
)
from qcompile.passes.rewriter import (
    BindingRewriter,
    operator_name,
    rewrite_functions,
    shape_of,
)


class _IntegerMatmul(BindingRewriter):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        if operator_name(call) != "relax.matmul":
            return None
        a, b = (codes_behind(self, argument) for argument in call.args)
        if a is None or b is None or not (a.per_tensor and a.eight_bits) or b.bits > 8:
            return None
        array = constant_codes(self, b.data)
        if array is not None and array.ndim == 2 and len(shape_of(a.data)) >= 2:
            return self._dense(a, signed_weights(b, array, axis=1), name)
        return self._batched(a, b, name)

    def _dense(self, a: Codes, weights: Weights | None, name: str) -> relax.Expr | None:
        if weights is None or not sums_fit(weights, largest_code(a)):
            return None
        total = self._product(a, weights, name)
        scale = weights.scale.astype("float64") * float(a.scale.reshape(-1)[0])
        return dequantize(
            total, vector(scale, "float32"), scalar(0, "int32"), axis=-1, bits=32, signed=True
        )

    def _product(self, a: Codes, weights: Weights, name: str) -> relax.Var:
        """The exact sums of (a - z_a) * (w - z_w): (..., M, N) int32."""
        attributes: dict[str, Any] = {
            "zero_point": a.zero_point,
            "bits": (a.bits, weights.bits),
            "codes": a.lattice,
            "layer": name,
        }
        bias = vector(np.zeros(len(weights.codes)), "int32")
        product = dense(a.data, vector(weights.codes, "int8"), bias, **attributes)
        total = self.emit(product, name)
        if not weights.zero.any():
            return total
        ones, none = np.ones((1, weights.codes.shape[1])), np.zeros(1)
        sums = dense(a.data, vector(ones, "int8"), vector(none, "int32"), **attributes)
        excess = relax.op.multiply(self.emit(sums, f"{name}_sums"), vector(weights.zero, "int32"))
        return self.emit(relax.op.subtract(total, self.emit(excess)))

    def _batched(self, a: Codes, b: Codes, name: str) -> relax.Expr | None:
        left, right = shape_of(a.data), shape_of(b.data)
        if not (b.per_tensor and b.eight_bits) or min(len(left), len(right)) < 2:
            return None
        if left[:-2] != right[:-2]:
            return None
        if left[-1] * largest_code(a) * largest_code(b) > INT32_MAX // 2:
            return None
        product = batch_matmul(
            a.data,
            b.data,
            zeros=(a.zero_point, b.zero_point),
            bits=(a.bits, b.bits),
            codes=(a.lattice, b.lattice),
            layer=name,
        )
        scale = float(a.scale.reshape(-1)[0]) * float(b.scale.reshape(-1)[0])
        return dequantize(
            self.emit(product, name),
            scalar(scale),
            scalar(0, "int32"),
            axis=-1,
            bits=32,
            signed=True,
        )


@tvm.transform.module_pass(opt_level=0, name="IntegerMatmul")
class IntegerMatmul:
    def transform_module(self, mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        return rewrite_functions(mod, _IntegerMatmul)
