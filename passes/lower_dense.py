"""Turn products with constant matrices into int8 kernels with packed weights.

qcompile.dense(x, w, b) -> dense_int8(prepare(x), pack(w), b - z * sum(w))
"""

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax, te

from qcompile.ops.contractions import DENSE
from qcompile.passes.facts import array_of
from qcompile.passes.layers import layer_of, narrow, unsigned_bias
from qcompile.passes.lowering import Lowering, matrix_shape, packed, passes_of
from qcompile.passes.prepared import prepared_codes, unsigned_zero
from qcompile.passes.rewriter import operator_name, shape_of
from qcompile.schedules.dense_int8 import DenseProblem, dense_int8, dense_plan, pack_weights
from qcompile.schedules.intrinsics import dot_of


def dense_int8_kernel(
    lowering: Lowering,
    x: relax.Expr,
    weights: NDArray[np.int8],
    bias: NDArray[np.int32],
    zero: int,
    layer: str,
) -> relax.Var:
    """x (..., K) read as a matrix, times weights (N, K) plus bias: (M, N) int32."""
    problem = DenseProblem(*matrix_shape(x), len(weights), narrow=narrow(weights))
    plan = dense_plan(problem, lowering.target, lowering.decisions("dense_int8", layer))

    def compute(x: te.Tensor, w: te.Tensor, b: te.Tensor) -> te.Tensor:
        return dense_int8(x, w, b, plan, layer)

    codes = matrix_codes(lowering, x, plan.input_shape, zero)
    operands = [codes, packed(pack_weights(weights, plan)), packed(bias)]
    return lowering.kernel(compute, operands, "dense_int8", layer)


def matrix_codes(
    lowering: Lowering, x: relax.Expr, shape: tuple[int, ...], zero: int
) -> relax.Expr:
    """x (..., K) as unsigned codes (rows, columns) of that shape, filled up with `zero`."""
    rows, depth = matrix_shape(x)
    image = prepared_codes(
        lowering,
        lowering.reshaped(x, (1, 1, rows, depth)),
        pads=(0, 0, 0, 0),
        channels=shape[1],
        columns=rows,
        zero=zero,
    )
    return lowering.reshaped(image, shape)


class _LowerDense(Lowering):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        if operator_name(call) != DENSE:
            return None
        x, (weights, bias) = call.args[0], (array_of(argument) for argument in call.args[1:])
        layer = str(call.attrs["layer"])
        self.layers.append(layer_of(call, "dense_int8", weights))
        zero = unsigned_zero(x, int(call.attrs["zero_point"]))
        bias = unsigned_bias(call, weights, bias, dot_of(self.target).offset)
        return self.reshaped(dense_int8_kernel(self, x, weights, bias, zero, layer), shape_of(call))


LowerDense = passes_of(_LowerDense, "LowerDense")
