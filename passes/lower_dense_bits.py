"""Turn products with constant matrices that were chosen to run on bits into their kernels.

    qcompile.dense(x, w, b, kernel="bits") -> dense_bits(pack(x), planes(w), b + what is constant)
    1 x 1, stride 1, no padding            -> the same over the pixels

qcompile.passes.bit_planes tells which planes, and what is constant.
"""

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax, te

from qcompile.passes.bit_planes import constant_sums, pair_coefficients, weight_planes
from qcompile.passes.choose_kernels import BITS, chosen
from qcompile.passes.facts import array_of
from qcompile.passes.kernel_costs import data_planes
from qcompile.passes.layers import layer_of, rows_alone
from qcompile.passes.lowering import Lowering, matrix_shape, packed, passes_of
from qcompile.passes.packed import packed_codes
from qcompile.passes.rewriter import shape_of
from qcompile.schedules.dense_bits import dense_bits, pack_weights
from qcompile.schedules.dense_bits_plan import DenseBitsProblem, dense_bits_plan


class _LowerDenseBits(Lowering):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        if chosen(call) != BITS or not rows_alone(call):
            return None
        weights, bias = (array_of(argument) for argument in call.args[1:])
        layer = str(call.attrs["layer"])
        self.layers.append(layer_of(call, "dense_bits", weights))
        product = self._product(call, weights.reshape(len(weights), -1), bias, layer)
        return self.reshaped(product, shape_of(call))

    def _product(
        self, call: tvm.ir.Call, weights: NDArray[np.int8], bias: NDArray[np.int32], layer: str
    ) -> relax.Var:
        """x (..., K) read as a matrix, times weights (N, K) plus bias: (M, N) int32."""
        data, planes = data_planes(call), weight_planes(weights)
        problem = DenseBitsProblem(
            *matrix_shape(call.args[0]),
            len(weights),
            planes.operation,
            pair_coefficients(data, planes),
        )
        plan = dense_bits_plan(problem, self.target, self.decisions("dense_bits", layer))
        sums = constant_sums(data, planes).sum(axis=1)
        sums = sums + data.offset * weights.sum(axis=1, dtype="int64") + bias
        words = packed_codes(self, call.args[0], data)

        def compute(x: te.Tensor, w: te.Tensor, b: te.Tensor) -> te.Tensor:
            return dense_bits(x, w, b, plan, layer)

        operands = [
            self.reshaped(words, plan.input_shape),
            packed(pack_weights(planes.planes, plan)),
            packed(sums.astype("int32")),
        ]
        return self.kernel(compute, operands, "dense_bits", layer)


LowerDenseBits = passes_of(_LowerDenseBits, "LowerDenseBits")
