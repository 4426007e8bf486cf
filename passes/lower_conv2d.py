"""Turn convolutions of codes into int8 kernels with packed weights.

    qcompile.conv2d(x, w, b)       -> conv2d_int8(prepare(x), pack(w), b - z * sum(w))
    1 x 1, stride 1, no padding    -> dense_int8 over the pixels

w and b constant. prepare writes unsigned codes, padded with the zero point z to what the kernel
reads; a separate pass takes convolutions with one channel a group before this one.
"""

import tvm
from tvm import relax, te

from qcompile.ops.contractions import CONV2D
from qcompile.passes.facts import array_of
from qcompile.passes.layers import geometry_of, layer_of, narrow, unsigned_bias
from qcompile.passes.lower_dense import dense_int8_kernel
from qcompile.passes.lowering import Lowering, has_small_sums, packed, passes_of
from qcompile.passes.prepared import prepared_codes, unsigned_zero
from qcompile.passes.rewriter import operator_name, shape_of
from qcompile.schedules.conv2d_int8 import conv2d_int8, pack_weights
from qcompile.schedules.conv2d_plan import Conv2dProblem, conv2d_plan
from qcompile.schedules.intrinsics import dot_of


class _LowerConv2d(Lowering):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        if operator_name(call) != CONV2D:
            return None
        x, (weights, bias) = call.args[0], (array_of(argument) for argument in call.args[1:])
        offset = dot_of(self.target).offset
        geometry, bias = geometry_of(call), unsigned_bias(call, weights, bias, offset)
        zero = unsigned_zero(x, int(call.attrs["zero_point"]))
        layer = str(call.attrs["layer"])
        if geometry.pointwise(weights.shape[1:3]):
            self.layers.append(layer_of(call, "dense_int8", weights))
            flat = weights.reshape(len(weights), -1)
            return self.reshaped(
                dense_int8_kernel(self, x, flat, bias, zero, layer), shape_of(call)
            )
        self.layers.append(layer_of(call, "conv2d_int8", weights))
        problem = Conv2dProblem(
            x=shape_of(x),
            w=weights.shape,
            pads=geometry.pads,
            strides=geometry.strides,
            dilation=geometry.dilation,
            groups=geometry.groups,
            narrow=narrow(weights),
        )
        plan = conv2d_plan(problem, self.target, self.decisions("conv2d_int8", layer))
        codes = prepared_codes(
            self,
            x,
            pads=geometry.pads,
            channels=plan.channels,
            columns=plan.columns,
            zero=zero,
        )

        is_small = has_small_sums(call)

        def compute(x: te.Tensor, w: te.Tensor, b: te.Tensor) -> te.Tensor:
            return conv2d_int8(x, w, b, plan, layer, is_small)

        operands = [self.reshaped(codes, plan.input_shape), packed(pack_weights(weights, plan))]
        return self.kernel(compute, [*operands, packed(bias)], "conv2d_int8", layer)


LowerConv2d = passes_of(_LowerConv2d, "LowerConv2d")
