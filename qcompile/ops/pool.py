"""Sums of codes over windows.

    sum_pool2d(x)[n, i, j, c] = sum over the window of x - z, int32

x: (N, H, W, C) int8 or uint8; positions outside the image count as the zero point z, so they add
nothing.
"""

from collections.abc import Sequence

import tvm
from tvm import relax, te, tirx

from qcompile.ops.contractions import conv2d_output
from qcompile.ops.registry import call_op, register_op

SUM_POOL2D = "qcompile.sum_pool2d"


def sum_pool2d(
    x: relax.Expr,
    *,
    kernel: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    zero_point: int,
) -> tvm.ir.Call:
    """Window sums of codes. padding: (top, left, bottom, right)."""
    register_pool()
    return call_op(
        SUM_POOL2D,
        [x],
        kernel=list(kernel),
        strides=list(strides),
        padding=list(padding),
        dilation=list(dilation),
        zero_point=zero_point,
    )


def register_pool() -> None:
    register_op(SUM_POOL2D, _infer, _legalize)


def _attributes(call: tvm.ir.Call) -> tuple[list[int], list[int], list[int], list[int]]:
    kernel, strides, padding, dilation = (
        [int(value) for value in call.attrs[key]]
        for key in ("kernel", "strides", "padding", "dilation")
    )
    return kernel, strides, padding, dilation


def _infer(call: tvm.ir.Call, _: relax.BlockBuilder) -> relax.Type:
    n, h, w, c = (int(extent) for extent in call.args[0].ty.shape)
    rows, columns = conv2d_output((h, w), *_attributes(call))
    return relax.TensorType((n, rows, columns, c), "int32")


def _legalize(bb: relax.BlockBuilder, call: tvm.ir.Call) -> relax.Expr:
    kernel, strides, (top, left, _b, _r), dilation = _attributes(call)
    zero = int(call.attrs["zero_point"])

    def compute(x: te.Tensor) -> te.Tensor:
        _, height, width, _c = x.shape
        u, v = (te.reduce_axis((0, extent)) for extent in kernel)

        def entry(n: tirx.Var, i: tirx.Var, j: tirx.Var, c: tirx.Var) -> tirx.Expr:
            y = i * strides[0] + u * dilation[0] - top
            z = j * strides[1] + v * dilation[1] - left
            inside = tirx.all(y >= 0, y < height, z >= 0, z < width)
            code = x[n, y, z, c].astype("int32") - zero
            return te.sum(tirx.if_then_else(inside, code, 0), axis=[u, v])

        return te.compute(_infer(call, bb).shape, entry, name="sum_pool2d")

    return bb.call_te(compute, *call.args, primfunc_name_hint="sum_pool2d")
