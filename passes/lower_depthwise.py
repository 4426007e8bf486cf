"""Turn convolutions with one channel a group into their own kernels.

    qcompile.conv2d(x, w, b), groups = C   -> depthwise_conv2d_int8(prepare(x), pack(w), b - …)

w: (O, KH, KW, 1) with O a multiple of C. Left to the general kernel: more channels a group.
"""

import tvm
from tvm import relax, te

from qcompile.ops.contractions import CONV2D
from qcompile.passes.facts import array_of
from qcompile.passes.layers import geometry_of, layer_of, unsigned_bias
from qcompile.passes.lowering import Lowering, packed, passes_of
from qcompile.passes.prepared import prepared_codes, unsigned_zero
from qcompile.passes.rewriter import operator_name, shape_of
from qcompile.schedules.depthwise_conv2d_int8 import depthwise_conv2d_int8, pack_weights
from qcompile.schedules.depthwise_plan import DepthwiseProblem, depthwise_plan


class _LowerDepthwise(Lowering):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        if operator_name(call) != CONV2D or int(call.attrs["groups"]) != shape_of(call.args[0])[-1]:
            return None
        x, (weights, bias) = call.args[0], (array_of(argument) for argument in call.args[1:])
        geometry, layer = geometry_of(call), str(call.attrs["layer"])
        if geometry.groups == 1 or weights.shape[3] != 1:
            return None
        self.layers.append(layer_of(call, "depthwise_conv2d_int8", weights))
        taps = weights[..., 0]
        problem = DepthwiseProblem(
            x=shape_of(x),
            w=taps.shape,
            pads=geometry.pads,
            strides=geometry.strides,
            dilation=geometry.dilation,
        )
        decisions = self.decisions("depthwise_conv2d_int8", layer)
        plan = depthwise_plan(problem, self.target, decisions)
        top, left, _, right = geometry.pads
        codes = prepared_codes(
            self,
            x,
            pads=(top, left, plan.height - top - shape_of(x)[1], right),
            channels=plan.channels,
            columns=plan.columns,
            zero=unsigned_zero(x, int(call.attrs["zero_point"])),
        )

        def compute(x: te.Tensor, w: te.Tensor, b: te.Tensor) -> te.Tensor:
            return depthwise_conv2d_int8(x, w, b, plan, layer)

        bias = unsigned_bias(call, weights, bias, offset=0)
        operands = [codes, packed(pack_weights(taps, plan)), packed(bias)]
        return self.kernel(compute, operands, "depthwise_conv2d_int8", layer)


LowerDepthwise = passes_of(_LowerDepthwise, "LowerDepthwise")
