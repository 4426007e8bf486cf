"""Integers to codes of few bits, by comparisons with integers.

    threshold(x, T)       = low + step * #{k : x >= T[k, o]}
    threshold(x, T, flip) = the same; low + step * #{k : x < T[k, o]} where flip[o] is -1

x: (..., O) int32, int8 or uint8; T: (levels, O) int32; flip: (O,) int32, -1 for channels whose
codes fall while x rises, else 0. A threshold of -2**31 is always passed.
"""

import tvm
from tvm import relax, te, tirx

from qcompile.ops.registry import call_op, register_op
from qcompile.passes.declared_patterns import DECLARED, ELEMENTWISE

THRESHOLD = "qcompile.threshold"


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
