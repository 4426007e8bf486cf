"""Sums of products of integer codes, exact in int32.

    conv2d(x, w, b)    y[n,i,j,o] = b[o] + sum (x[n, i*s+u*d-p, j*s+v*d-q, g*C+c] - z) * w[o,u,v,c]
    dense(x, w, b)     y[...,o]   = b[o] + sum (x[...,k] - z) * w[o,k]
    batch_matmul(a, b) y[...,m,n] = sum (a[...,m,k] - z_a) * (b[...,k,n] - z_b)

x: (N, H, W, C*groups) int8 or uint8, whose value outside the image is the zero point z; w: int8,
(O, KH, KW, C) or (O, K); b: (O,) int32. The results are int32: callers prove that they fit. `codes`
are the lowest code of data and the step between its codes: (-1, 2) for bipolar data.
"""

from collections.abc import Sequence

import tvm
from tvm import relax, te, tirx

from qcompile.ops.registry import call_op, register_op

CONV2D = "qcompile.conv2d"
DENSE = "qcompile.dense"
BATCH_MATMUL = "qcompile.batch_matmul"


def conv2d(
    x: relax.Expr,
    w: relax.Expr,
    bias: relax.Expr,
    *,
    strides: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    zero_point: int,
    bits: tuple[int, int],
    codes: tuple[int, int],
    layer: str,
) -> tvm.ir.Call:
    """Convolution of codes. padding: (top, left, bottom, right); bits: of x and of w."""
    register_contractions()
    return call_op(
        CONV2D,
        [x, w, bias],
        strides=list(strides),
        padding=list(padding),
        dilation=list(dilation),
        groups=groups,
        zero_point=zero_point,
        a_bits=bits[0],
        w_bits=bits[1],
        codes=list(codes),
        layer=layer,
    )


def dense(
    x: relax.Expr,
    w: relax.Expr,
    bias: relax.Expr,
    *,
    zero_point: int,
    bits: tuple[int, int],
    codes: tuple[int, int],
    layer: str,
) -> tvm.ir.Call:
    """Rows of codes times constant columns."""
    register_contractions()
    attributes = {"a_bits": bits[0], "w_bits": bits[1], "codes": list(codes), "layer": layer}
    return call_op(DENSE, [x, w, bias], zero_point=zero_point, **attributes)


def batch_matmul(
    a: relax.Expr,
    b: relax.Expr,
    *,
    zeros: tuple[int, int],
    bits: tuple[int, int],
    codes: tuple[tuple[int, int], tuple[int, int]],
    layer: str,
) -> tvm.ir.Call:
    """Products of two computed matrices of codes, with equal leading axes."""
    register_contractions()
    attributes = {"a_bits": bits[0], "w_bits": bits[1], "layer": layer}
    attributes |= {"codes_a": list(codes[0]), "codes_b": list(codes[1])}
    return call_op(BATCH_MATMUL, [a, b], zero_a=zeros[0], zero_b=zeros[1], **attributes)


def register_contractions() -> None:
    register_op(CONV2D, _infer_conv2d, _legalize_conv2d)
    register_op(DENSE, _infer_dense, _legalize_dense)
    register_op(BATCH_MATMUL, _infer_batch_matmul, _legalize_batch_matmul)


def conv2d_output(
    data: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> tuple[int, int]:
    """Rows and columns of the result for data (H, W) and a kernel (KH, KW)."""
    rows, columns = (
        (data[i] + padding[i] + padding[i + 2] - dilation[i] * (kernel[i] - 1) - 1) // strides[i]
        + 1
        for i in (0, 1)
    )
    return rows, columns


def _ints(values: Sequence[tirx.IntImm]) -> list[int]:
    return [int(value) for value in values]


def _infer_conv2d(call: tvm.ir.Call, _: relax.BlockBuilder) -> relax.Type:
    n, h, w, _c = _ints(call.args[0].ty.shape)
    o, kh, kw, _i = _ints(call.args[1].ty.shape)
    strides, padding, dilation = (
        _ints(call.attrs[key]) for key in ("strides", "padding", "dilation")
    )
    rows, columns = conv2d_output((h, w), (kh, kw), strides, padding, dilation)
    return relax.TensorType((n, rows, columns, o), "int32")


def _infer_dense(call: tvm.ir.Call, _: relax.BlockBuilder) -> relax.Type:
    *leading, _k = _ints(call.args[0].ty.shape)
    return relax.TensorType((*leading, int(call.args[1].ty.shape[0])), "int32")


def _infer_batch_matmul(call: tvm.ir.Call, _: relax.BlockBuilder) -> relax.Type:
    *leading, m, _k = _ints(call.args[0].ty.shape)
    return relax.TensorType((*leading, m, int(call.args[1].ty.shape[-1])), "int32")


def _legalize_conv2d(bb: relax.BlockBuilder, call: tvm.ir.Call) -> relax.Expr:
    _, rows, columns, _o = _ints(_infer_conv2d(call, bb).shape)
    (top, left, _b, _r), strides, dilation = (
        _ints(call.attrs[key]) for key in ("padding", "strides", "dilation")
    )
    groups, zero = int(call.attrs["groups"]), int(call.attrs["zero_point"])

    def compute(x: te.Tensor, w: te.Tensor, bias: te.Tensor) -> te.Tensor:
        n, height, width, _ = x.shape
        o, kh, kw, c = (int(extent) for extent in w.shape)
        u, v, k = (te.reduce_axis((0, extent)) for extent in (kh, kw, c))

        def entry(b: tirx.Var, i: tirx.Var, j: tirx.Var, channel: tirx.Var) -> tirx.Expr:
            y = i * strides[0] + u * dilation[0] - top
            z = j * strides[1] + v * dilation[1] - left
            inside = tirx.all(y >= 0, y < height, z >= 0, z < width)
            code = x[b, y, z, channel // (o // groups) * c + k].astype("int32") - zero
            value = tirx.if_then_else(inside, code, 0)
            return te.sum(value * w[channel, u, v, k].astype("int32"), axis=[u, v, k])

        product = te.compute((n, rows, columns, o), entry, name="conv2d")
        return te.compute(product.shape, lambda *i: product(*i) + bias[i[-1]], name="conv2d_bias")

    return bb.call_te(compute, *call.args, primfunc_name_hint="conv2d")


def _legalize_dense(bb: relax.BlockBuilder, call: tvm.ir.Call) -> relax.Expr:
    zero = int(call.attrs["zero_point"])

    def compute(x: te.Tensor, w: te.Tensor, bias: te.Tensor) -> te.Tensor:
        k = te.reduce_axis((0, w.shape[1]))

        def entry(*i: tirx.Var) -> tirx.Expr:
            code = x(*i[:-1], k).astype("int32") - zero
            return te.sum(code * w[i[-1], k].astype("int32"), axis=k)

        product = te.compute((*x.shape[:-1], w.shape[0]), entry, name="dense")
        return te.compute(product.shape, lambda *i: product(*i) + bias[i[-1]], name="dense_bias")

    return bb.call_te(compute, *call.args, primfunc_name_hint="dense")


def _legalize_batch_matmul(bb: relax.BlockBuilder, call: tvm.ir.Call) -> relax.Expr:
    zero_a, zero_b = int(call.attrs["zero_a"]), int(call.attrs["zero_b"])

    def compute(a: te.Tensor, b: te.Tensor) -> te.Tensor:
        k = te.reduce_axis((0, a.shape[-1]))

        def entry(*i: tirx.Var) -> tirx.Expr:
            left = a(*i[:-1], k).astype("int32") - zero_a
            right = b(*i[:-2], k, i[-1]).astype("int32") - zero_b
            return te.sum(left * right, axis=k)

        return te.compute((*a.shape[:-1], b.shape[-1]), entry, name="batch_matmul")

    return bb.call_te(compute, *call.args, primfunc_name_hint="batch_matmul")
