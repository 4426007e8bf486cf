"""Sums to codes by shifts and additions alone, for hardware without multipliers.

    shift_add(x, b, g, d_1, d_2 ...) = clamp((s >> g) + o, low, high)
    s = a + (a >> d_1) + (a >> d_2) ...        a = (x << lift) + b

x: int32; b, g, d: int32, one value each or one per entry of the last axis. All in int32, >> rounds
towards minus infinity: b holds what rounds to the nearest. Callers prove that nothing overflows.
"""

from collections.abc import Sequence

import numpy as np
import tvm
from tvm import relax, te, tirx

from qcompile.ops.registry import call_op, register_op
from qcompile.ops.requantize import at, elementwise

SHIFT_ADD = "qcompile.shift_add"
PARAMETERS = ("lift", "offset", "low", "high")


def shift_add(
    x: relax.Expr,
    bias: relax.Expr,
    shift: relax.Expr,
    terms: Sequence[relax.Expr],
    *,
    lift: int,
    offset: int,
    low: int,
    high: int,
    dtype: str,
) -> tvm.ir.Call:
    """Codes of `x` times about 2^(lift - shift) (1 + 2^-d_1 + 2^-d_2 ...), and what b makes."""
    register_shift_add()
    attributes = {"lift": lift, "offset": offset, "low": low, "high": high}
    return call_op(SHIFT_ADD, [x, bias, shift, *terms], **attributes, dtype=dtype)


def register_shift_add() -> None:
    register_op(SHIFT_ADD, _infer, _legalize)


def _infer(call: tvm.ir.Call, _: relax.BlockBuilder) -> relax.Type:
    return relax.TensorType(call.args[0].ty.shape, str(call.attrs["dtype"]))


def _legalize(bb: relax.BlockBuilder, call: tvm.ir.Call) -> relax.Expr:
    dtype = str(call.attrs["dtype"])

    def compute(
        x: te.Tensor, parameters: te.Tensor, bias: te.Tensor, shift: te.Tensor, *terms: te.Tensor
    ) -> te.Tensor:
        lift, offset, low, high = (parameters[k] for k in range(len(PARAMETERS)))

        def entry(*i: tirx.Var) -> tirx.Expr:
            lifted = tirx.shift_left(x(*i), lift) + at(bias, i, x.shape)
            total = lifted
            for term in terms:
                total = total + tirx.shift_right(lifted, at(term, i, x.shape))
            code = tirx.shift_right(total, at(shift, i, x.shape)) + offset
            return tirx.max(tirx.min(code, high), low).astype(dtype)

        return te.compute(x.shape, entry, name="shift_add")

    x, *vectors = call.args
    # Data, not constants of the program: layers of one shape share a kernel.
    parameters = np.array([int(call.attrs[key]) for key in PARAMETERS], "int32")
    return elementwise(bb, compute, "shift_add", x, relax.const(parameters, "int32"), *vectors)
