"""Codes by comparisons: of real values in the quantized form, of integers in the integer form.

    multi_threshold(x, t) = #{k : x >= t[c, k]}
    threshold(x, T)       = low + step * #{k : x >= T[k, o]}
    threshold(x, T, flip) = the same; low + step * #{k : x < T[k, o]} where flip[o] is -1

multi_threshold: x: float32; t: (C, levels) float32, c the channel of x along `axis`, or
(1, levels); the result is uint8. QONNX MultiThreshold.

threshold: x: (..., O) int32, int8 or uint8; T: (levels, O) int32, or int16 for x of 8 bits,
ascending; flip: (O,) int32, -1 for channels whose codes fall while x rises, else 0. The lowest
number of T's type is a threshold that is always passed, the highest one that never is.
"""

from typing import Any

import tvm
from tvm import relax, te, tirx

from qcompile.ops.registry import call_op, register_op
from qcompile.passes.declared_patterns import DECLARED, ELEMENTWISE
from qcompile.schedules import threshold as schedules_threshold

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
    codes: dict[str, Any] = {key: int(call.attrs[key]) for key in ("low", "step")}
    codes["dtype"] = str(call.attrs["dtype"])

    def compute(x: te.Tensor, thresholds: te.Tensor, *flip: te.Tensor) -> te.Tensor:
        return schedules_threshold.threshold(x, thresholds, *flip, **codes)

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
