"""Integers to codes of another scale: the epilogues of the integer form.

    requantize(x, s, t) = clamp(round(float32(x - z_x) * s + t) + z, low, high)
    add(a, b)           = clamp(round((a - z_a) * s_a + (b - z_b) * s_b) + z, low, high)
    multiply(a, b)      = clamp(round(float32((a - z_a) * (b - z_b)) * s) + z, low, high)
    table(x, t)         = t[x - lowest code]

Every product and sum is rounded to float32 by itself (no fused multiply-add); `rounding` is one of
qcompile.ops.roundings, half to even where nothing else is said. x: int32, int8 or uint8; a, b: int8
or uint8, whose centred values and products float32 holds exactly; s, t: float32, of any shape that
broadcasts to that of x.
"""

from collections.abc import Callable, Sequence

import numpy as np
import tvm
from tvm import relax, te, tirx

from qcompile.ops.registry import call_op, register_op
from qcompile.ops.roundings import EXPRESSIONS, HALF_EVEN
from qcompile.passes.declared_patterns import DECLARED, ELEMENTWISE
from qcompile.schedules.arithmetic import unfused
from qcompile.schedules.rounding import to_nearest

REQUANTIZE = "qcompile.requantize"
ADD = "qcompile.add"
MULTIPLY = "qcompile.multiply"
TABLE = "qcompile.table"


def requantize(
    x: relax.Expr,
    scale: relax.Expr,
    offset: relax.Expr | None,
    *,
    input_zero: int,
    zero_point: int,
    low: int,
    high: int,
    dtype: str,
    rounding: str = HALF_EVEN,
) -> tvm.ir.Call:
    """Codes of `x * scale + offset`, clamped to [low, high]."""
    register_requantize()
    arguments = [x, scale] if offset is None else [x, scale, offset]
    return call_op(
        REQUANTIZE,
        arguments,
        input_zero=input_zero,
        zero_point=zero_point,
        low=low,
        high=high,
        dtype=dtype,
        rounding=rounding,
    )


def add(
    a: relax.Expr,
    b: relax.Expr,
    *,
    scales: tuple[float, float],
    zeros: tuple[int, int],
    zero_point: int,
    low: int,
    high: int,
    dtype: str,
    rounding: str = HALF_EVEN,
) -> tvm.ir.Call:
    """Codes of the sum of two tensors of codes; scales are relative to the output's."""
    register_requantize()
    return call_op(
        ADD,
        [a, b],
        scale_a=scales[0],
        scale_b=scales[1],
        zero_a=zeros[0],
        zero_b=zeros[1],
        zero_point=zero_point,
        low=low,
        high=high,
        dtype=dtype,
        rounding=rounding,
    )


def multiply(
    a: relax.Expr,
    b: relax.Expr,
    *,
    scale: float,
    zeros: tuple[int, int],
    zero_point: int,
    low: int,
    high: int,
    dtype: str,
    rounding: str = HALF_EVEN,
) -> tvm.ir.Call:
    """Codes of the product of two tensors of codes; scale is relative to the output's."""
    register_requantize()
    return call_op(
        MULTIPLY,
        [a, b],
        scale=scale,
        zero_a=zeros[0],
        zero_b=zeros[1],
        zero_point=zero_point,
        low=low,
        high=high,
        dtype=dtype,
        rounding=rounding,
    )


def table(x: relax.Expr, entries: relax.Expr) -> tvm.ir.Call:
    """Look codes up. x: int8 or uint8; entries: (256,), indexed from the lowest code on."""
    register_requantize()
    return call_op(TABLE, [x, entries])


def register_requantize() -> None:
    register_op(REQUANTIZE, _infer_codes, _legalize_requantize)
    register_op(ADD, _infer_codes, _legalize_add)
    register_op(MULTIPLY, _infer_codes, _legalize_multiply)
    register_op(TABLE, _infer_table, _legalize_table)


def _infer_codes(call: tvm.ir.Call, _: relax.BlockBuilder) -> relax.Type:
    shape = list(call.args[0].ty.shape)
    if str(call.op.name) in (ADD, MULTIPLY):
        shape = _broadcast(shape, list(call.args[1].ty.shape))
    return relax.TensorType(shape, str(call.attrs["dtype"]))


def _broadcast(a: list[tirx.Expr], b: list[tirx.Expr]) -> list[int]:
    rank = max(len(a), len(b))
    a, b = ([1] * (rank - len(shape)) + [int(extent) for extent in shape] for shape in (a, b))
    return [max(pair) for pair in zip(a, b, strict=True)]


def _infer_table(call: tvm.ir.Call, _: relax.BlockBuilder) -> relax.Type:
    return relax.TensorType(call.args[0].ty.shape, call.args[1].ty.dtype)


def at(tensor: te.Tensor, index: tuple[tirx.Var, ...], shape: Sequence[int]) -> tirx.Expr:
    """The element of a tensor that broadcasts to `shape`, indexed by `index`.

    An axis of 1 in both is indexed by its variable: so TVM sees elementwise access, and fuses.
    """
    rank = len(tensor.shape)
    inner = zip(tensor.shape, index[len(index) - rank :], shape[len(shape) - rank :], strict=True)
    return tensor(*(0 if int(own) < int(full) else i for own, i, full in inner))


def _rounding(call: tvm.ir.Call, *further: float) -> relax.Expr:
    """What differs from layer to layer, as data, so that layers of one shape share a kernel.

    (further + 3,) float32: further, then the zero point and the limits before it is added.
    """
    zero, low, high = (int(call.attrs[key]) for key in ("zero_point", "low", "high"))
    return relax.const(np.array([*further, zero, high - zero, low - zero], "float32"), "float32")


def _codes(call: tvm.ir.Call, value: tirx.Expr, parameters: te.Tensor) -> tirx.Expr:
    """Round `value` (float32), shift it to the zero point and clamp it.

    Clamped first: the limits are integers, so that rounding gives the same.
    """
    zero, high, low = (parameters[int(parameters.shape[0]) - k] for k in (3, 2, 1))
    value = tirx.max(tirx.min(value, high), low)
    rounding = str(call.attrs["rounding"])
    exact = rounding == HALF_EVEN
    code = to_nearest(value) if exact else EXPRESSIONS[rounding](value).astype("int32")
    return (code + zero.astype("int32")).astype(str(call.attrs["dtype"]))


def elementwise(
    bb: relax.BlockBuilder, compute: Callable[..., te.Tensor], name: str, *arguments: relax.Expr
) -> relax.Expr:
    """A kernel that TVM may fuse as elementwise; its own analysis stops at `parameters`."""
    attributes = {DECLARED: ELEMENTWISE}
    return bb.call_te(compute, *arguments, primfunc_name_hint=name, primfunc_attrs=attributes)


def _centred(code: tirx.Expr, zero: int) -> tirx.Expr:
    """`code - zero` as int32."""
    return code.astype("int32") - zero if zero else code.astype("int32")


def _legalize_requantize(bb: relax.BlockBuilder, call: tvm.ir.Call) -> relax.Expr:
    input_zero = int(call.attrs["input_zero"])

    def compute(
        x: te.Tensor, parameters: te.Tensor, scale: te.Tensor, *offset: te.Tensor
    ) -> te.Tensor:
        def entry(*i: tirx.Var) -> tirx.Expr:
            value = _centred(x(*i), input_zero).astype("float32") * at(scale, i, x.shape)
            for term in offset:
                value = unfused(value) + at(term, i, x.shape)
            return _codes(call, value, parameters)

        return te.compute(x.shape, entry, name="requantize")

    x, *factors = call.args
    return elementwise(bb, compute, "requantize", x, _rounding(call), *factors)


def _legalize_add(bb: relax.BlockBuilder, call: tvm.ir.Call) -> relax.Expr:
    shape = list(_infer_codes(call, bb).shape)

    def compute(a: te.Tensor, b: te.Tensor, parameters: te.Tensor) -> te.Tensor:
        def entry(*i: tirx.Var) -> tirx.Expr:
            left, right = (
                unfused((at(x, i, shape).astype("float32") - parameters[k]) * parameters[k + 2])
                for k, x in enumerate((a, b))
            )
            return _codes(call, left + right, parameters)

        return te.compute(shape, entry, name="add")

    scales = (float(call.attrs[key]) for key in ("zero_a", "zero_b", "scale_a", "scale_b"))
    return elementwise(bb, compute, "add", *call.args, _rounding(call, *scales))


def _legalize_multiply(bb: relax.BlockBuilder, call: tvm.ir.Call) -> relax.Expr:
    shape = list(_infer_codes(call, bb).shape)

    def compute(a: te.Tensor, b: te.Tensor, parameters: te.Tensor) -> te.Tensor:
        def entry(*i: tirx.Var) -> tirx.Expr:
            left, right = (
                at(x, i, shape).astype("float32") - parameters[k] for k, x in enumerate((a, b))
            )
            return _codes(call, left * right * parameters[2], parameters)

        return te.compute(shape, entry, name="multiply")

    scales = (float(call.attrs[key]) for key in ("zero_a", "zero_b", "scale"))
    return elementwise(bb, compute, "multiply", *call.args, _rounding(call, *scales))


def _legalize_table(bb: relax.BlockBuilder, call: tvm.ir.Call) -> relax.Expr:
    signed = str(call.args[0].ty.dtype.dtype) == "int8"

    def compute(x: te.Tensor, entries: te.Tensor) -> te.Tensor:
        return te.compute(
            x.shape,
            lambda *i: entries[x(*i).astype("int32") + (128 if signed else 0)],
            name="table",
        )

    return bb.call_te(compute, *call.args, primfunc_name_hint="table")
