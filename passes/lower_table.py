"""Turn look-ups of codes into kernels: qcompile.table(x, t) -> table(x, t)."""

import tvm
from tvm import relax, te

from qcompile.ops.requantize import TABLE
from qcompile.passes.lowering import Lowering, passes_of
from qcompile.passes.rewriter import operator_name
from qcompile.schedules.table import table


class _LowerTable(Lowering):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        if operator_name(call) != TABLE:
            return None

        def compute(x: te.Tensor, entries: te.Tensor) -> te.Tensor:
            return table(x, entries, layer=name)

        return self.kernel(compute, call.args, "table", name)


LowerTable = passes_of(_LowerTable, "LowerTable")
