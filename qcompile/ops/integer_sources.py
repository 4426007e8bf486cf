"""Sums of products of integer codes, as MatMulInteger and ConvInteger of ONNX ask for them.

    integer_matmul(a, b, a_zero, b_zero) = sum_k (a - a_zero) * (b - b_zero)       int32
    integer_conv2d(x, w, x_zero, w_zero) = sum_iuv (x - x_zero) * (w - w_zero)     int32

a: (..., M, K), b: (..., K, N), of 8 bits, batch axes broadcast as in numpy.matmul; the zero points
have the types of their data and broadcast to them. x: (N, C, H, W), w: (O, C / groups, KH, KW);
x_zero: 0-d, w_zero: 0-d or (O,); the border is padded with x_zero. Operands may be of either
signedness. ONNX MatMulInteger and ConvInteger, opset 10.
"""

from collections.abc import Sequence

import tvm
from tvm import relax, te, tirx, topi

from qcompile.ops.registry import call_op, register_op

INTEGER_MATMUL = "qcompile.integer_matmul"
INTEGER_CONV2D = "qcompile.integer_conv2d"


def integer_matmul(
    a: relax.Expr, b: relax.Expr, a_zero: relax.Expr, b_zero: relax.Expr
) -> tvm.ir.Call:
    register_integer_sources()
    return call_op(INTEGER_MATMUL, [a, b, a_zero, b_zero])


def integer_conv2d(
    x: relax.Expr,
    w: relax.Expr,
    x_zero: relax.Expr,
    w_zero: relax.Expr,
    *,
    strides: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0, 0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> tvm.ir.Call:
    """`padding` is top, left, bottom, right."""
    register_integer_sources()
    attributes = {"strides": list(strides), "padding": list(padding), "dilation": list(dilation)}
    return call_op(INTEGER_CONV2D, [x, w, x_zero, w_zero], groups=groups, **attributes)


def register_integer_sources() -> None:
    register_op(INTEGER_MATMUL, _infer_matmul, _legalize_matmul)
    register_op(INTEGER_CONV2D, _infer_conv2d, _legalize_conv2d)


def _shape(expr: relax.Expr) -> list[int]:
    return [int(extent) for extent in expr.ty.shape]


def _integers(call: tvm.ir.Call, name: str) -> list[int]:
    return [int(value) for value in call.attrs[name]]


def _infer_matmul(call: tvm.ir.Call, _: relax.BlockBuilder) -> relax.Type:
    a, b = _shape(call.args[0]), _shape(call.args[1])
    rank = max(len(a), len(b)) - 2
    batches = [([1] * rank + side[:-2])[-rank:] if rank else [] for side in (a, b)]
    if any(p != q and 1 not in (p, q) for p, q in zip(*batches, strict=True)) or a[-1] != b[-2]:
        raise ValueError(f"{INTEGER_MATMUL}: {a} and {b} do not fit")
    batch = [max(p, q) for p, q in zip(*batches, strict=True)]
    return relax.TensorType([*batch, a[-2], b[-1]], "int32")


def _infer_conv2d(call: tvm.ir.Call, _: relax.BlockBuilder) -> relax.Type:
    (n, c, *image), (o, i, *window) = _shape(call.args[0]), _shape(call.args[1])
    strides, dilation = _integers(call, "strides"), _integers(call, "dilation")
    padding, groups = _integers(call, "padding"), int(call.attrs["groups"])
    if c != i * groups or o % groups:
        raise ValueError(f"{INTEGER_CONV2D}: {c} channels, weights for {i} in {groups} groups")
    out = [
        (image[k] + padding[k] + padding[k + 2] - (window[k] - 1) * dilation[k] - 1) // strides[k]
        + 1
        for k in (0, 1)
    ]
    return relax.TensorType([n, o, *out], "int32")


def _difference(codes: te.Tensor, zero: te.Tensor) -> te.Tensor:
    return topi.subtract(topi.cast(codes, "int32"), topi.cast(zero, "int32"))


def _legalize_matmul(bb: relax.BlockBuilder, call: tvm.ir.Call) -> relax.Expr:
    def compute(a: te.Tensor, b: te.Tensor, a_zero: te.Tensor, b_zero: te.Tensor) -> te.Tensor:
        left, right = _difference(a, a_zero), _difference(b, b_zero)
        shape = _shape(call)
        k = te.reduce_axis((0, left.shape[-1]), name="k")

        def at(side: te.Tensor, batch: Sequence[tirx.Var]) -> list[tirx.Expr]:
            """The batch index of one side, 0 where it has a single matrix for all."""
            own = len(side.shape) - 2
            indices = zip(batch[len(batch) - own :], side.shape, strict=False)
            return [0 if int(extent) == 1 else index for index, extent in indices]

        def entry(*index: tirx.Var) -> tirx.Expr:
            *batch, row, column = index
            product = left(*at(left, batch), row, k) * right(*at(right, batch), k, column)
            return te.sum(product, axis=k)

        return te.compute(shape, entry, name="integer_matmul")

    return bb.call_te(compute, *call.args, primfunc_name_hint="integer_matmul")


def _legalize_conv2d(bb: relax.BlockBuilder, call: tvm.ir.Call) -> relax.Expr:
    strides, dilation = _integers(call, "strides"), _integers(call, "dilation")
    padding, groups = _integers(call, "padding"), int(call.attrs["groups"])

    def compute(x: te.Tensor, w: te.Tensor, x_zero: te.Tensor, w_zero: te.Tensor) -> te.Tensor:
        if w_zero.shape:
            w_zero = topi.reshape(w_zero, (w_zero.shape[0], 1, 1, 1))
        weights = _difference(w, w_zero)
        border = [0, 0, *padding[:2]], [0, 0, *padding[2:]]
        data = topi.nn.pad(_difference(x, x_zero), *border)
        outputs, inputs, *window = (int(extent) for extent in w.shape)
        i = te.reduce_axis((0, inputs), name="i")
        u, v = (te.reduce_axis((0, window[k]), name="uv"[k]) for k in (0, 1))

        def entry(n: tirx.Var, o: tirx.Var, y: tirx.Var, z: tirx.Var) -> tirx.Expr:
            channel = o // (outputs // groups) * inputs + i
            row, column = y * strides[0] + u * dilation[0], z * strides[1] + v * dilation[1]
            return te.sum(data[n, channel, row, column] * weights[o, i, u, v], axis=[i, u, v])

        return te.compute(_shape(call), entry, name="integer_conv2d")

    return bb.call_te(compute, *call.args, primfunc_name_hint="integer_conv2d")
