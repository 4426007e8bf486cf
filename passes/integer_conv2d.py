"""Run convolutions of dequantized images on the codes themselves.

    conv2d(dequantize(x, s_x, z_x), dequantize(w, s_w, z_w))
        -> dequantize(qcompile.conv2d(x - z_x, w - z_w), s_x * s_w, 0)

x: (N, H, W, C) int8 or uint8 with one scale; w: constant (O, C/groups, KH, KW) of up to 8 bits,
scale and zero point per tensor or per output channel. Weights whose zero point cannot be taken into
int8 codes cost a second convolution with ones: w - z_w = codes - z, and the window sums of x times
z are subtracted. Left alone: everything whose sums are not proved to fit an int32.
"""

from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm.ir import IRModule

from qcompile.ops import conv2d, dequantize
from qcompile.passes.facts import Codes, channels_last, codes_behind, constant_codes, scalar, vector
from qcompile.passes.integer_weights import Weights, largest_code, signed_weights, sums_fit
from qcompile.passes.rewriter import BindingRewriter, operator_name, rewrite_functions


class _IntegerConv2d(BindingRewriter):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        if operator_name(call) != "relax.nn.conv2d" or not channels_last(call):
            return None
        x, w = (codes_behind(self, argument) for argument in call.args)
        if x is None or w is None or not x.per_tensor or not x.eight_bits or w.bits > 8:
            return None
        array = constant_codes(self, w.data)
        weights = None if array is None else signed_weights(w, array, axis=0)
        if weights is None or not sums_fit(weights, largest_code(x)):
            return None
        total = self._product(call, x, weights, name)
        scale = weights.scale.astype("float64") * float(x.scale.reshape(-1)[0])
        return dequantize(
            total, vector(scale, "float32"), scalar(0, "int32"), axis=3, bits=32, signed=True
        )

    def _product(self, call: tvm.ir.Call, x: Codes, weights: Weights, name: str) -> relax.Var:
        """The exact sums of (x - z_x) * (w - z_w): (N, OH, OW, O) int32."""
        attributes: dict[str, Any] = {
            "strides": [int(value) for value in call.attrs.strides],
            "padding": [int(value) for value in call.attrs.padding],
            "dilation": [int(value) for value in call.attrs.dilation],
            "groups": int(call.attrs.groups),
            "zero_point": x.zero_point,
            "bits": (x.bits, weights.bits),
            "codes": x.lattice,
            "layer": name,
        }
        outputs = len(weights.codes)
        kernel = weights.codes.transpose(0, 2, 3, 1)  # (O, KH, KW, C/groups)
        bias = vector(np.zeros(outputs), "int32")
        total = self.emit(conv2d(x.data, vector(kernel, "int8"), bias, **attributes), name)
        if not weights.zero.any():
            return total
        groups = attributes["groups"]
        ones = np.ones((groups, *kernel.shape[1:]))
        none = vector(np.zeros(groups), "int32")
        sums = self.emit(conv2d(x.data, vector(ones, "int8"), none, **attributes), f"{name}_sums")
        if groups > 1:
            sums = self.emit(relax.op.repeat(sums, outputs // groups, axis=3))
        excess = self.emit(relax.op.multiply(sums, vector(weights.zero, "int32")))
        return self.emit(relax.op.subtract(total, excess))


@tvm.transform.module_pass(opt_level=0, name="IntegerConv2d")
class IntegerConv2d:
    def transform_module(self, mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        return rewrite_functions(mod, _IntegerConv2d)
