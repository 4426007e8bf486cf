"""Turn products of two computed matrices that were chosen to run on bits into their kernels.

    qcompile.batch_matmul(a, b, kernel="bits")
        -> batch_matmul_bits(pack(a), pack_columns(b)) + row terms + column terms + K * constant

qcompile.passes.bit_planes tells which planes, and which terms. Where b is transposed codes, as the
keys of attention are, the codes are packed and their words transposed.
"""

from collections.abc import Sequence
from math import prod

import tvm
from tvm import relax, te

from qcompile.ops.contractions import BATCH_MATMUL
from qcompile.passes.bit_planes import DataPlanes, FactorPlanes, factor_planes
from qcompile.passes.choose_kernels import BITS, chosen
from qcompile.passes.declared_patterns import INJECTIVE
from qcompile.passes.kernel_costs import factors
from qcompile.passes.lower_batch_matmul import product_layer
from qcompile.passes.lowering import Lowering, passes_of
from qcompile.passes.packed import packed_rows, unsigned_codes
from qcompile.passes.rewriter import operator_name, shape_of
from qcompile.schedules import batch_matmul_bits as kernel
from qcompile.schedules.dense_bits_plan import DenseBitsPlan, DenseBitsProblem, dense_bits_plan


class _LowerBatchMatmulBits(Lowering):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        if operator_name(call) != BATCH_MATMUL or chosen(call) != BITS:
            return None
        self.layers.append(product_layer(call, "batch_matmul_bits"))
        (a, b), (left, right) = call.args, factors(call)
        parts = factor_planes(left, right)
        batch, rows, depth = prod(shape_of(a)[:-2]), *shape_of(a)[-2:]
        layer = str(call.attrs["layer"])
        problem = DenseBitsProblem(
            rows,
            depth,
            shape_of(b)[-1],
            parts.operation,
            parts.coefficients,
            batch,
            start=depth * parts.constant,
        )
        plan = dense_bits_plan(problem, self.target, self.decisions("dense_bits", layer))
        x = self.reshaped(packed_rows(self, a, left), plan.input_shape)
        w = self._columns(b, right, plan)

        def compute(x: te.Tensor, w: te.Tensor) -> te.Tensor:
            return kernel.batch_matmul_bits(x, w, plan, layer)

        total = self.kernel(compute, [x, w], "batch_matmul_bits", layer)
        return self.reshaped(self._with_terms(total, x, w, parts, plan), shape_of(call))

    def _columns(self, b: relax.Expr, data: DataPlanes, plan: DenseBitsPlan) -> relax.Var:
        """b (..., K, O) as `plan.weight_shape`."""
        transposed = self._transposed(b)
        if transposed is None:

            def pack(codes: te.Tensor) -> te.Tensor:
                return kernel.pack_code_columns(unsigned_codes(codes, data), plan)

            codes = self.reshaped(b, (plan.batch, shape_of(b)[-2], plan.columns))
            return self.kernel(pack, [codes], "pack_columns", pattern=INJECTIVE)

        source, axes = transposed
        words = packed_rows(self, source, data)
        order = [*axes[:-2], axes[-1], len(axes) - 1, len(axes)]  # planes and words are the last
        words = self.emit(relax.op.permute_dims(words, order))
        shape = plan.batch, plan.columns, plan.planes.weights, plan.words

        def rearrange(words: te.Tensor) -> te.Tensor:
            return kernel.word_columns(words, plan)

        return self.kernel(
            rearrange, [self.reshaped(words, shape)], "word_columns", pattern=INJECTIVE
        )

    def _transposed(self, b: relax.Expr) -> tuple[relax.Expr, list[int]] | None:
        """What b (..., K, O) transposes, and the axes, where its codes are neighbours along K."""
        moved = self.call_of(b, "relax.permute_dims")
        if moved is None or moved.attrs.axes is None:
            return None
        axes = [int(axis) for axis in moved.attrs.axes]
        return (moved.args[0], axes) if axes[-2] == len(axes) - 1 else None

    def _with_terms(
        self,
        total: relax.Var,
        x: relax.Expr,
        w: relax.Expr,
        parts: FactorPlanes,
        plan: DenseBitsPlan,
    ) -> relax.Var:
        """total and what each operand's bits add to it alone."""
        if parts.left:
            sums = self.kernel(lambda x: kernel.bit_sums(x, parts.left), [x], "row_bits")
            total = self._plus(total, sums, (plan.batch, plan.rows, 1))
        if parts.right:
            sums = self.kernel(
                lambda w: kernel.column_bit_sums(w, parts.right, plan), [w], "column_bits"
            )
            total = self._plus(total, sums, (plan.batch, 1, plan.columns))
        return total

    def _plus(self, total: relax.Var, sums: relax.Expr, shape: Sequence[int]) -> relax.Var:
        return self.emit(relax.op.add(total, self.reshaped(sums, shape)))


LowerBatchMatmulBits = passes_of(_LowerBatchMatmulBits, "LowerBatchMatmulBits")
