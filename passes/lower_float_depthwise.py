"""Turn float32 convolutions with one channel a group into their own kernels.

    conv2d(x NHWC, w), groups = C  -> depthwise_conv2d_f32(pad(x), pack(w), 0)

w constant, (O, 1, KH, KW) with O a multiple of C. Left to the general kernel: more channels a
group.
"""

from math import prod

import numpy as np
import tvm
from tvm import relax, te

from qcompile.passes.facts import channels_last, constant
from qcompile.passes.lower_float import FLOAT_BITS
from qcompile.passes.lowering import Layer, Lowering, packed, passes_of
from qcompile.passes.rewriter import dtype_of, operator_name, shape_of
from qcompile.schedules.depthwise_conv2d_f32 import (
    DepthwiseConv2dF32Problem,
    depthwise_conv2d_f32,
    depthwise_conv2d_f32_plan,
    pack_weights,
)


class _LowerFloatDepthwise(Lowering):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        if operator_name(call) != "relax.nn.conv2d" or dtype_of(call) != "float32":
            return None
        x, weights, attributes = call.args[0], constant(self.definition(call.args[1])), call.attrs
        groups = int(attributes.groups)
        if weights is None or not channels_last(call) or groups == 1:
            return None
        if groups != shape_of(x)[3] or len(weights) % groups:
            return None
        macs = prod(shape_of(call)) * weights[0].size
        kernel = "depthwise_conv2d_f32"
        self.layers.append(
            Layer(name, "Conv", kernel, FLOAT_BITS, FLOAT_BITS, macs, weights.nbytes)
        )
        top, left, bottom, right = (int(pad) for pad in attributes.padding)
        if top or left or bottom or right:
            x = self.emit(relax.op.nn.pad(x, [0, 0, top, bottom, left, right, 0, 0]))
        n, height, width, channels = shape_of(x)
        strides, dilation = (
            (int(pair[0]), int(pair[1])) for pair in (attributes.strides, attributes.dilation)
        )
        problem = DepthwiseConv2dF32Problem(
            data=(n, height, width, channels),
            channels=len(weights),
            kernel=weights.shape[2:],
            strides=strides,
            dilation=dilation,
        )
        plan = depthwise_conv2d_f32_plan(problem, self.target, self.decisions(kernel, name))

        def compute(x: te.Tensor, w: te.Tensor, b: te.Tensor) -> te.Tensor:
            return depthwise_conv2d_f32(x, w, b, plan=plan, layer=name)

        zeros = packed(np.zeros(len(weights), "float32"))
        return self.kernel(compute, [x, packed(pack_weights(weights, plan)), zeros], kernel, name)


LowerFloatDepthwise = passes_of(_LowerFloatDepthwise, "LowerFloatDepthwise")
