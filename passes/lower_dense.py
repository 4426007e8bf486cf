"""Turn products with constant matrices into int8 kernels with packed weights.

qcompile.dense(x, w, b) -> dense_int8(prepare(x), pack(w), b - z * sum(w))
"""

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax, te

from qcompile.ops.contractions import DENSE
from qcompile.passes.facts import constant
from qcompile.passes.layers import layer_of, unsigned_bias
from qcompile.passes.lowering import Lowering, matrix_shape, packed, passes_of
from qcompile.passes.prepared import prepared_codes, unsigned_zero
from qcompile.passes.rewriter import operator_name, shape_of
from qcompile.schedules.conv2d_int8 import conv2d_int8, pack_weights
from qcompile.schedules.conv2d_plan import plan_conv2d


def dense_int8_kernel(
    lowering: Lowering,
    x: relax.Expr,
    weights: NDArray[np.int8],
    bias: NDArray[np.int32],
    zero: int,
    layer: str,
) -> relax.Var:
    """x (..., K) read as a matrix, times weights (N, K) plus bias: (M, N) int32."""
    rows, depth = matrix_shape(x)
    image = (1, 1, rows, depth)
    columns = len(weights)
    plan = plan_conv2d(image, (columns, 1, 1, depth), lowering.target)
    codes = prepared_codes(
        lowering,
        lowering.reshaped(x, image),
        pads=(0, 0, 0, 0),
        channels=plan.channels,
        columns=plan.columns,
        zero=zero,
    )

    def compute(x: te.Tensor, w: te.Tensor, b: te.Tensor) -> te.Tensor:
        return conv2d_int8(x, w, b, plan, layer)

    operands = [
        lowering.reshaped(codes, plan.input_shape),
        packed(pack_weights(weights.reshape(columns, 1, 1, depth), plan)),
        packed(bias),
    ]
    sums = lowering.kernel(compute, operands, "dense_int8", layer)
    return lowering.reshaped(sums, (rows, columns))


class _LowerDense(Lowering):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        if operator_name(call) != DENSE:
            return None
        x, (weights, bias) = call.args[0], (constant(argument) for argument in call.args[1:])
        layer = str(call.attrs["layer"])
        self.layers.append(layer_of(call, "dense_int8", weights))
        zero = unsigned_zero(x, int(call.attrs["zero_point"]))
        bias = unsigned_bias(call, weights, bias)
        return self.reshaped(dense_int8_kernel(self, x, weights, bias, zero, layer), shape_of(call))


LowerDense = passes_of(_LowerDense, "LowerDense")
