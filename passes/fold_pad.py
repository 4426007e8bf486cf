"""Let convolutions do the zero padding in front of them.

    conv2d(pad(x, widths, 0), w, padding=p) -> conv2d(x, w, padding=p + widths)

Frameworks that have no uneven padding in their convolutions write such a pad as an operator of its
own. Left alone: other values and modes, padding of images or channels, negative widths.
"""

import tvm
from tvm import relax
from tvm.ir import IRModule

from qcompile.passes.rewriter import (
    BindingRewriter,
    operator_name,
    rewrite_functions,
    shape_of,
)


class _FoldPad(BindingRewriter):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        if operator_name(call) != "relax.nn.conv2d":
            return None
        pad = self.call_of(call.args[0], "relax.nn.pad")
        widths = None if pad is None else _around_pixels(pad, str(call.attrs.data_layout))
        if pad is None or widths is None:
            return None
        attributes = call.attrs
        padding = [int(a) + b for a, b in zip(attributes.padding, widths, strict=True)]
        return relax.op.nn.conv2d(
            pad.args[0],
            call.args[1],
            strides=list(attributes.strides),
            padding=padding,
            dilation=list(attributes.dilation),
            groups=int(attributes.groups),
            data_layout=str(attributes.data_layout),
            kernel_layout=str(attributes.kernel_layout),
            out_layout=str(attributes.out_layout),
            out_dtype=attributes.out_dtype,
        )


def _around_pixels(pad: tvm.ir.Call, layout: str) -> list[int] | None:
    """(top, left, bottom, right) of a pad with zeros around rows and columns, or None."""
    if str(pad.attrs.pad_mode) != "constant" or float(pad.attrs.pad_value) != 0:
        return None
    widths = [int(width) for width in pad.attrs.pad_width]
    if len(shape_of(pad)) != len(layout) or min(widths) < 0:
        return None
    pairs = dict(zip(layout, zip(widths[::2], widths[1::2], strict=True), strict=True))
    if any(pairs[axis] != (0, 0) for axis in "NC"):
        return None
    (top, bottom), (left, right) = pairs["H"], pairs["W"]
    return [top, left, bottom, right]


@tvm.transform.module_pass(opt_level=0, name="FoldPad")
class FoldPad:
    def transform_module(self, mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        return rewrite_functions(mod, _FoldPad)
