"""Chains of elementwise operators on one tensor of codes, evaluated as the model states them.

Every operator is computed by NumPy in float32, one after the other. Constants are single values or
lie along the last axis, as the codes' scales may.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from scipy import special
from tvm import relax

from qcompile.ops.quantize import quantize_array
from qcompile.passes.facts import Codes, array_of, codes_behind, constant
from qcompile.passes.rewriter import BindingRewriter, operator_name, shape_of

Array = NDArray[Any]
HALF = np.float32(0.5)
ELEMENTWISE: dict[str, Callable[..., Array]] = {
    "relax.add": np.add,
    "relax.subtract": np.subtract,
    "relax.multiply": np.multiply,
    "relax.divide": np.divide,
    "relax.maximum": np.maximum,
    "relax.minimum": np.minimum,
    "relax.power": np.power,
    "relax.clip": lambda x, low, high: np.maximum(np.minimum(x, high), low),
    "relax.nn.relu": lambda x: np.maximum(x, np.float32(0)),
    "relax.nn.relu6": lambda x: np.clip(x, np.float32(0), np.float32(6)),
    "relax.nn.silu": lambda x: x * special.expit(x),
    "relax.nn.gelu": lambda x: HALF * x * (1 + special.erf(x * np.float32(np.sqrt(0.5)))),
    "relax.sigmoid": special.expit,
    "relax.tanh": np.tanh,
    "relax.exp": np.exp,
    "relax.log": np.log,
    "relax.sqrt": np.sqrt,
    "relax.rsqrt": lambda x: 1 / np.sqrt(x),
    "relax.erf": special.erf,
    "relax.abs": np.abs,
    "relax.negative": np.negative,
    "relax.floor": np.floor,
    "relax.ceil": np.ceil,
    "relax.round": np.rint,
    "relax.square": np.square,
    "relax.sign": np.sign,
}
LEAKY = "relax.nn.leakyrelu"
PRELU = "relax.nn.prelu"


def source_of(
    rewriter: BindingRewriter,
    value: relax.Expr,
    admissible: Callable[[tvm.ir.Call, list[Array | None]], bool],
) -> Codes | None:
    """The one tensor of codes that `value` is computed from, elementwise, or None.

    admissible(call, arrays): whether an operator may be part of the chain; arrays: its constant
    operands, None for the others.
    """
    codes = codes_behind(rewriter, value)
    if codes is not None:
        return codes if codes.zero.size == 1 else None
    call = rewriter.definition(value)
    if operator_name(call) not in (*ELEMENTWISE, LEAKY, PRELU):
        return None
    arrays = [constant(rewriter.definition(argument)) for argument in call.args]
    if not admissible(call, arrays) or not all(
        array is None or _along_last(array, shape_of(call)) for array in arrays
    ):
        return None
    sources = [
        source_of(rewriter, argument, admissible)
        for argument, array in zip(call.args, arrays, strict=True)
        if isinstance(argument, relax.Var) and array is None
    ]
    first = sources[0] if sources else None
    if first is None or any(s is None or not s.data.same_as(first.data) for s in sources):
        return None
    return first


def evaluate(rewriter: BindingRewriter, value: relax.Expr, codes: Array) -> Array:
    """What the chain makes of `codes`, whose last axis is the tensor's or broadcasts to it."""
    call = rewriter.definition(value)
    source = codes_behind(rewriter, value)
    if source is not None:
        return (codes - source.zero_point).astype("float32") * _flat(source.scale)
    arguments = [_argument(rewriter, argument, codes) for argument in call.args]
    operator = operator_name(call)
    if operator in (LEAKY, PRELU):
        alpha = call.attrs.alpha if operator == LEAKY else None
        slope = arguments[1] if alpha is None else np.float32(float(alpha))
        return np.where(arguments[0] > 0, arguments[0], arguments[0] * slope)
    return np.asarray(ELEMENTWISE[operator](*arguments), "float32")


def codes_made(call: tvm.ir.Call, real: Array) -> Array:
    """The codes that a quantize with constant parameters, of one value each, makes of `real`."""
    scale, zero = (array_of(argument).reshape(()) for argument in call.args[1:])
    return quantize_array(
        real,
        scale,
        zero,
        bits=int(call.attrs["bits"]),
        signed=bool(call.attrs["signed"]),
        narrow=bool(call.attrs["narrow"]),
        rounding=str(call.attrs["rounding"]),
    )


def _argument(rewriter: BindingRewriter, argument: relax.Expr, codes: Array) -> Array:
    array = constant(rewriter.definition(argument))
    if array is not None:
        return _flat(array)
    if isinstance(argument, relax.Var):
        return evaluate(rewriter, argument, codes)
    return np.asarray(float(argument.value), "float32")


def _flat(array: Array) -> Array:
    return array.reshape(()) if array.size == 1 else array.reshape(-1)


def _along_last(array: Array, shape: tuple[int, ...]) -> bool:
    """Whether a constant is a single value or varies along the last axis alone."""
    return array.size == 1 or array.size == array.shape[-1] == shape[-1]
