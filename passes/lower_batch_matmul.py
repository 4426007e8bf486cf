"""Turn products of two computed matrices of codes into kernels.

    qcompile.batch_matmul(a, b)
        -> batch_matmul_int8(prepare(a), pack_columns(b)) - z_b * rows(a) - z_a * columns(b) + c

rows and columns are sums of codes along K; they are left out where their zero point is 0.
"""

from math import prod

import tvm
from tvm import relax, te

from qcompile.ops.contractions import BATCH_MATMUL
from qcompile.passes.declared_patterns import INJECTIVE
from qcompile.passes.facts import scalar
from qcompile.passes.lowering import Layer, Lowering, passes_of
from qcompile.passes.prepared import SIGN_SHIFT, prepared_codes, unsigned_zero
from qcompile.passes.rewriter import dtype_of, operator_name, shape_of
from qcompile.schedules import batch_matmul_int8 as kernel
from qcompile.schedules.dense_int8 import DensePlan, DenseProblem, dense_plan


class _LowerBatchMatmul(Lowering):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        if operator_name(call) != BATCH_MATMUL:
            return None
        a, b = call.args
        batch, rows, depth, columns = prod(shape_of(a)[:-2]), *shape_of(a)[-2:], shape_of(b)[-1]
        layer = str(call.attrs["layer"])
        self.layers.append(product_layer(call, "batch_matmul_int8"))
        problem = DenseProblem(rows, depth, columns, batch)
        plan = dense_plan(problem, self.target, self.decisions("dense_int8", layer))
        zero_a = unsigned_zero(a, int(call.attrs["zero_a"]))
        zero_b = int(call.attrs["zero_b"]) - (SIGN_SHIFT if dtype_of(b) == "uint8" else 0)
        image = self.reshaped(a, (1, batch, rows, depth))
        prepared = prepared_codes(
            self,
            image,
            pads=(0, 0, 0, 0),
            channels=plan.steps * plan.depth,
            columns=rows,
            zero=0,
        )
        left = self.reshaped(prepared, (batch, rows, plan.steps * plan.depth))
        right = self.reshaped(b, (batch, depth, columns))
        total = self._product(left, right, plan, layer)
        if zero_b:
            sums = self._rows(left, depth)
            total = self._less(total, sums, zero_b, (batch, rows, 1))
        if zero_a != plan.offset:
            less = zero_a - plan.offset
            total = self._less(total, self._columns(right), less, (batch, 1, columns))
        if zero_a and zero_b:
            constant = scalar(zero_a * zero_b * depth, "int32")
            total = self.emit(relax.op.add(total, constant))
        return self.reshaped(total, shape_of(call))

    def _product(self, a: relax.Expr, b: relax.Expr, plan: DensePlan, layer: str) -> relax.Var:
        def pack(b: te.Tensor) -> te.Tensor:
            return kernel.pack_columns(b, plan, layer)

        def multiply(a: te.Tensor, b: te.Tensor) -> te.Tensor:
            return kernel.batch_matmul_int8(a, b, plan, layer)

        packed = self.kernel(pack, [b], "pack_columns", pattern=INJECTIVE)
        return self.kernel(multiply, [a, packed], "batch_matmul_int8", layer)

    def _rows(self, a: relax.Expr, depth: int) -> relax.Var:
        def compute(a: te.Tensor) -> te.Tensor:
            return kernel.row_sums(a, depth)

        return self.kernel(compute, [a], "row_sums")

    def _columns(self, b: relax.Expr) -> relax.Var:
        return self.kernel(kernel.column_sums, [b], "column_sums")

    def _less(
        self, total: relax.Expr, sums: relax.Expr, factor: int, shape: tuple[int, ...]
    ) -> relax.Var:
        """total - factor * sums, broadcast from `shape`."""
        scaled = relax.op.multiply(self.reshaped(sums, shape), scalar(factor, "int32"))
        return self.emit(relax.op.subtract(total, self.emit(scaled)))


def product_layer(call: tvm.ir.Call, kernel: str) -> Layer:
    """The list entry of a lowered qcompile.batch_matmul."""
    return Layer(
        name=str(call.attrs["layer"]),
        op="MatMul",
        kernel=kernel,
        a_bits=int(call.attrs["a_bits"]),
        w_bits=int(call.attrs["w_bits"]),
        macs=prod(shape_of(call)) * shape_of(call.args[0])[-1],
        weight_bytes=0,
    )


LowerBatchMatmul = passes_of(_LowerBatchMatmul, "LowerBatchMatmul")
