"""Turn products whose weights were chosen to be packed into kernels that unpack them.

    qcompile.dense(x, w, b, kernel="packed") -> dense_packed(prepare(x), pack(w), b - z * sum(w))
    1 x 1, stride 1, no padding              -> the same over the pixels

Weights take 2 or 4 bits in memory, whatever bits the model says.
"""

import tvm
from tvm import relax, te

from qcompile.passes.choose_kernels import PACKED, chosen
from qcompile.passes.facts import array_of
from qcompile.passes.kernel_work import packed_bits
from qcompile.passes.layers import layer_of, unsigned_bias
from qcompile.passes.lower_dense import matrix_codes
from qcompile.passes.lowering import Lowering, matrix_shape, packed, passes_of
from qcompile.passes.prepared import unsigned_zero
from qcompile.passes.rewriter import shape_of
from qcompile.schedules.dense_packed import (
    DensePackedProblem,
    dense_packed,
    dense_packed_plan,
    pack_weights,
)


class _LowerDensePacked(Lowering):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        if chosen(call) != PACKED:
            return None
        x, (weights, bias) = call.args[0], (array_of(argument) for argument in call.args[1:])
        layer, bits = str(call.attrs["layer"]), packed_bits(weights)
        assert bits is not None
        self.layers.append(layer_of(call, "dense_packed", weights))
        matrix = weights.reshape(len(weights), -1)
        problem = DensePackedProblem(*matrix_shape(x), len(matrix), bits)
        plan = dense_packed_plan(problem, self.target, self.decisions("dense_packed", layer))

        def compute(x: te.Tensor, w: te.Tensor, b: te.Tensor) -> te.Tensor:
            return dense_packed(x, w, b, plan, layer)

        zero = unsigned_zero(x, int(call.attrs["zero_point"]))
        operands = [
            matrix_codes(self, x, plan.dense.input_shape, zero),
            packed(pack_weights(matrix, plan)),
            packed(unsigned_bias(call, weights, bias, plan.dense.offset)),
        ]
        return self.reshaped(self.kernel(compute, operands, "dense_packed", layer), shape_of(call))


LowerDensePacked = passes_of(_LowerDensePacked, "LowerDensePacked")
