"""Turn pooling of codes into kernels.

max_pool2d(x NHWC, 8-bit codes)  -> max_pool2d_int8(x)
qcompile.sum_pool2d(x)           -> sum_pool2d_int8(x) - z * positions
"""

import tvm
from tvm import relax, te

from qcompile.ops.pool import SUM_POOL2D
from qcompile.passes.facts import scalar
from qcompile.passes.lowering import Lowering, passes_of
from qcompile.passes.rewriter import dtype_of, operator_name
from qcompile.schedules.pool2d_int8 import max_pool2d_int8, sum_pool2d_int8


class _LowerPool(Lowering):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        operator = operator_name(call)
        if operator == SUM_POOL2D:
            return self._sum(call, name)
        codes = operator == "relax.nn.max_pool2d" and dtype_of(call) in ("int8", "uint8")
        return self._max(call, name) if codes and str(call.attrs.layout) == "NHWC" else None

    def _max(self, call: tvm.ir.Call, name: str) -> relax.Expr:
        attributes = call.attrs

        def compute(x: te.Tensor) -> te.Tensor:
            return max_pool2d_int8(
                x,
                kernel=[int(extent) for extent in attributes.pool_size],
                strides=[int(stride) for stride in attributes.strides],
                pads=[int(pad) for pad in attributes.padding],
                dilation=[int(d) for d in attributes.dilation],
                ceil_mode=bool(attributes.ceil_mode),
                layer=name,
            )

        return self.kernel(compute, call.args, "max_pool2d_int8", name)

    def _sum(self, call: tvm.ir.Call, name: str) -> relax.Expr:
        kernel, strides, padding, dilation = (
            [int(value) for value in call.attrs[key]]
            for key in ("kernel", "strides", "padding", "dilation")
        )
        zero = int(call.attrs["zero_point"])

        def compute(x: te.Tensor) -> te.Tensor:
            return sum_pool2d_int8(
                x,
                kernel=kernel,
                strides=strides,
                pads=padding,
                dilation=dilation,
                zero=zero,
                layer=name,
            )

        sums = self.kernel(compute, call.args, "sum_pool2d_int8", name)
        if zero == 0:
            return sums
        return relax.op.subtract(sums, scalar(zero * kernel[0] * kernel[1], "int32"))


LowerPool = passes_of(_LowerPool, "LowerPool")
