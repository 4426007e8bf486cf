"""Turn products of two computed float32 matrices into kernels.

    matmul(a, b)  -> batch_matmul_f32(a, b), b packed first where its columns fill no vectors

a: (..., M, K), b: (..., K, N) with equal leading axes. Left to TVM: other leading axes, vectors.
"""

from math import prod

import tvm
from tvm import relax, te

from qcompile.passes.declared_patterns import INJECTIVE
from qcompile.passes.facts import constant
from qcompile.passes.lower_float import FLOAT_BITS
from qcompile.passes.lowering import Layer, Lowering, passes_of
from qcompile.passes.rewriter import dtype_of, operator_name, shape_of
from qcompile.schedules import batch_matmul_f32 as kernel


class _LowerFloatBatchMatmul(Lowering):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        if operator_name(call) != "relax.matmul" or dtype_of(call) != "float32":
            return None
        a, b = call.args
        if constant(self.definition(b)) is not None or min(len(shape_of(a)), len(shape_of(b))) < 2:
            return None
        (*leading, rows, depth), (*others, _, columns) = shape_of(a), shape_of(b)
        if leading != others:
            return None
        batch = prod(leading)
        macs = batch * rows * depth * columns
        self.layers.append(
            Layer(name, "MatMul", "batch_matmul_f32", FLOAT_BITS, FLOAT_BITS, macs, 0)
        )
        problem = kernel.BatchMatmulF32Problem(batch, rows, columns, depth)
        decisions = self.decisions("batch_matmul_f32", name)
        plan = kernel.batch_matmul_f32_plan(problem, self.target, decisions)
        left = self.reshaped(a, (batch, rows, depth))
        right = self.reshaped(b, (batch, depth, columns))

        def pack(b: te.Tensor) -> te.Tensor:
            return kernel.pack_columns(b, plan=plan)

        def multiply(a: te.Tensor, b: te.Tensor) -> te.Tensor:
            return kernel.batch_matmul_f32(a, b, plan=plan, layer=name)

        if plan.packed:
            right = self.kernel(pack, [right], "pack_columns_f32", pattern=INJECTIVE)
        product = self.kernel(multiply, [left, right], "batch_matmul_f32", name)
        return self.reshaped(product, shape_of(call))


LowerFloatBatchMatmul = passes_of(_LowerFloatBatchMatmul, "LowerFloatBatchMatmul")
