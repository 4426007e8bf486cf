"""Turn pooling of codes into kernels.

max_pool2d(x NHWC, 8-bit codes)  -> max_pool2d_int8(x)
qcompile.sum_pool2d(x)           -> sum_pool2d_int8(x) - z * positions
"""

from math import prod
from typing import Any

import tvm
from tvm import relax, te

from qcompile.ops.pool import SUM_POOL2D
from qcompile.passes.facts import scalar
from qcompile.passes.lowering import Lowering, passes_of
from qcompile.passes.rewriter import dtype_of, operator_name, shape_of
from qcompile.schedules.pool2d_int8 import pool2d_int8
from qcompile.schedules.pool2d_plan import Pool2dProblem, pool2d_plan


class _LowerPool(Lowering):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        operator = operator_name(call)
        if operator == SUM_POOL2D:
            return self._sum(call, name)
        codes = operator == "relax.nn.max_pool2d" and dtype_of(call) in ("int8", "uint8")
        return self._max(call, name) if codes and str(call.attrs.layout) == "NHWC" else None

    def _max(self, call: tvm.ir.Call, name: str) -> relax.Expr:
        attributes = call.attrs
        problem = Pool2dProblem(
            x=shape_of(call.args[0]),
            codes=dtype_of(call.args[0]),
            largest=True,
            kernel=_integers(attributes.pool_size),
            strides=_integers(attributes.strides),
            pads=_integers(attributes.padding),
            dilation=_integers(attributes.dilation),
            ceil_mode=bool(attributes.ceil_mode),
        )
        return self._pool(call, problem, "max_pool2d_int8", name)

    def _sum(self, call: tvm.ir.Call, name: str) -> relax.Expr:
        attributes, zero = call.attrs, int(call.attrs["zero_point"])
        problem = Pool2dProblem(
            x=shape_of(call.args[0]),
            codes=dtype_of(call.args[0]),
            largest=False,
            kernel=_integers(attributes["kernel"]),
            strides=_integers(attributes["strides"]),
            pads=_integers(attributes["padding"]),
            dilation=_integers(attributes["dilation"]),
            zero=zero,
        )
        sums = self._pool(call, problem, "sum_pool2d_int8", name)
        if zero == 0:
            return sums
        return relax.op.subtract(sums, scalar(zero * prod(problem.kernel), "int32"))

    def _pool(self, call: tvm.ir.Call, problem: Pool2dProblem, hint: str, name: str) -> relax.Expr:
        plan = pool2d_plan(problem, self.target, self.decisions("pool2d_int8", name))

        def compute(x: te.Tensor) -> te.Tensor:
            return pool2d_int8(x, plan, name)

        return self.kernel(compute, call.args, hint, name)


def _integers(values: Any) -> tuple[int, ...]:
    return tuple(int(value) for value in values)


LowerPool = passes_of(_LowerPool, "LowerPool")
