"""Codes by comparisons: of real values in the quantized form, of integers in the integer form.

    multi_threshold(x, t) = #{k : x >= t[c, k]}
    threshold(x, T)       = low + step * #{k : x >= T[k, o]}
    threshold(x, T, flip) = the same; low + step * #{k : x < T[k, o]} where flip[o] is -1

multi_threshold: x: float32; t: (C, levels) float32, c the channel of x along `axis`, or
(1, levels); the result is uint8. QONNX MultiThreshold.

threshold: x: (..., O) int32, int8 or uint8; T: (levels, O) int32; flip: (O,) int32, -1 for channels
whose codes fall while x rises, else 0. A threshold of -2**31 is always passed.
"""

import tvm
from tvm import relax, te, tirx

from qcompile.ops.registry import call_op, register_op
from qcompile.passes.declared_patterns import DECLARED, ELEMENTWISE

THRESHOLD = "qcompile.threshold"
MULTI_THRESHOLD = "qcompile.multi_threshold"


def multi_threshold(x: relax.Expr, thresholds: relax.Expr, *, axis: int) -> tvm.ir.Call:
    """How many thresholds of its channel each value of `x` reaches."""
    register_threshold()
    return call_op(MULTI_THRESHOLD, [x, thresholds], axis=axis)


def threshold(
    x: relax.Expr,
    thresholds: relax.Expr,
    flip: relax.Expr | None = None,
    *,
    low: int,
    step: int,
    dtype: str,
) -> tvm.ir.Call:
    """Codes low, low + step, ... (int8 or uint8) by the thresholds that `x` reaches."""
    register_threshold()
    arguments = [x, thresholds] if flip is None else [x, thresholds, flip]
    return call_op(THRESHOLD, arguments, low=low, step=step, dtype=dtype)


def register_threshold() -> None:
    register_op(THRESHOLD, _infer_threshold, _legalize_threshold)
    register_op(MULTI_THRESHOLD, _infer_multi_threshold, _legalize_multi_threshold)


def _infer_threshold(call: tvm.ir.Call, _: relax.BlockBuilder) -> relax.Type:
    return relax.TensorType(call.args[0].ty.shape, str(call.attrs["dtype"]))


def _legalize_threshold(bb: relax.BlockBuilder, call: tvm.ir.Call) -> relax.Expr:
    low, step, dtype = int(call.attrs["low"]), int(call.attrs["step"]), str(call.attrs["dtype"])
    levels = int(call.args[1].ty.shape[0])

    def compute(x: te.Tensor, thresholds: te.Tensor, *flip: te.Tensor) -> te.Tensor:
        def entry(*i: tirx.Var) -> tirx.Expr:
            value = x(*i).astype("int32")
            passed = [tirx.Cast("int32", value >= thresholds[k, i[-1]]) for k in range(levels)]
            count = sum(passed[1:], start=passed[0])
            for mask in flip:  # -1 - count + levels + 1, or count
                count = (count ^ mask[i[-1]]) + (mask[i[-1]] & (levels + 1))
            return (low + step * count).astype(dtype)

        return te.compute(x.shape, entry, name="threshold")

    attributes = {DECLARED: ELEMENTWISE}
    return bb.call_te(
        compute, *call.args, primfunc_name_hint="threshold", primfunc_attrs=attributes
    )


def _infer_multi_threshold(call: tvm.ir.Call, _: relax.BlockBuilder) -> relax.Type:
    return relax.TensorType(call.args[0].ty.shape, "uint8")


def _legalize_multi_threshold(bb: relax.BlockBuilder, call: tvm.ir.Call) -> relax.Expr:
    axis = int(call.attrs["axis"])
    channels, levels = (int(extent) for extent in call.args[1].ty.shape)

    def compute(x: te.Tensor, thresholds: te.Tensor) -> te.Tensor:
        k = te.reduce_axis((0, levels), "k")

        def entry(*i: tirx.Var) -> tirx.Expr:
            channel = i[axis] if channels > 1 else 0
            return te.sum(tirx.Cast("int32", x(*i) >= thresholds[channel, k]), axis=k)

        count = te.compute(x.shape, entry, name="count")
        return te.compute(x.shape, lambda *i: count(*i).astype("uint8"), name="multi_threshold")

    return bb.call_te(compute, *call.args, primfunc_name_hint="multi_threshold")
