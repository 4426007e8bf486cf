"""Look up chains of elementwise operators between 8-bit codes.

    quantize(f(g(dequantize(x, s, z)))) -> table(x, [the code of every x])

f, g: elementwise with one operand that is not constant (sigmoid, tanh, gelu, clip, x * c, x + c,
x * sigmoid(x), …); x of up to 8 bits with one scale. The 256 entries are computed by NumPy in
float32, operator by operator, as the model states them. Left alone: a chain of a dequantize alone
(a requantize is cheaper), per-channel parameters.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from scipy import special
from tvm import relax
from tvm.ir import IRModule

from qcompile.ops import table
from qcompile.ops.quantize import code_range, is_bipolar, stored_dtype
from qcompile.ops.roundings import round_array
from qcompile.passes.facts import Codes, array_of, codes_behind, constant
from qcompile.passes.rewriter import (
    BindingRewriter,
    operator_name,
    rewrite_functions,
    shape_of,
)

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


class _Tabulate(BindingRewriter):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        if operator_name(call) != "qcompile.quantize" or int(call.attrs["bits"]) > 8:
            return None
        parameters = [constant(argument) for argument in call.args[1:]]
        if any(array is None or array.size != 1 for array in parameters):
            return None
        codes = self._source(call.args[0])
        if codes is None or shape_of(codes.data) != shape_of(call):
            return None
        if operator_name(self.definition(call.args[0])) == "qcompile.dequantize":
            return None
        low = -128 if codes.dtype == "int8" else 0
        every = np.arange(low, low + 256)
        with np.errstate(all="ignore"):
            real = self._evaluate(call.args[0], every)
            entries = _codes(call, np.nan_to_num(real))
        if not np.isfinite(real[_reachable(codes, every)]).all():
            return None
        return table(codes.data, relax.const(entries, str(entries.dtype)))

    def _source(self, value: relax.Expr) -> Codes | None:
        """The one tensor of 8-bit codes that `value` is computed from, elementwise."""
        codes = codes_behind(self, value)
        if codes is not None:
            return codes if codes.per_tensor and codes.eight_bits else None
        call = self.definition(value)
        if operator_name(call) not in ELEMENTWISE and operator_name(call) != LEAKY:
            return None
        sources: list[Codes | None] = []
        for argument in call.args:
            array = constant(self.definition(argument))
            if isinstance(argument, relax.Var) and array is None:
                sources.append(self._source(argument))
            elif array is not None and array.size != 1:
                return None
        first = sources[0] if sources else None
        if first is None or any(s is None or not s.data.same_as(first.data) for s in sources):
            return None
        return first

    def _evaluate(self, value: relax.Expr, every: Array) -> Array:
        """`value` for every code: float32."""
        call = self.definition(value)
        codes = codes_behind(self, value)
        if codes is not None:
            return (every - codes.zero_point).astype("float32") * codes.scale.reshape(-1)[0]
        arguments = [self._argument(argument, every) for argument in call.args]
        if operator_name(call) == LEAKY:
            slope = np.float32(float(call.attrs.alpha))
            return np.where(arguments[0] > 0, arguments[0], arguments[0] * slope)
        return np.asarray(ELEMENTWISE[operator_name(call)](*arguments), "float32")

    def _argument(self, argument: relax.Expr, every: Array) -> Array:
        array = constant(self.definition(argument))
        if array is not None:
            return array.reshape(())
        if isinstance(argument, relax.Var):
            return self._evaluate(argument, every)
        return np.asarray(float(argument.value), "float32")


def _reachable(codes: Codes, every: Array) -> Array:
    low, high = code_range(codes.bits, codes.signed, codes.narrow)
    return (every >= low) & (every <= high)


def _codes(call: tvm.ir.Call, real: Array) -> Array:
    bits, signed, narrow = (int(call.attrs[key]) for key in ("bits", "signed", "narrow"))
    dtype = stored_dtype(bits, bool(signed))
    if is_bipolar(bits, bool(signed), bool(narrow)):
        return np.where(real >= 0, 1, -1).astype(dtype)
    low, high = code_range(bits, bool(signed), bool(narrow))
    scale, zero = (array_of(argument).reshape(()) for argument in call.args[1:])
    rounded = round_array((real / scale).astype("float32"), str(call.attrs["rounding"]))
    return np.clip(rounded + zero.astype("float32"), low, high).astype(dtype)


@tvm.transform.module_pass(opt_level=0, name="Tabulate")
class Tabulate:
    def transform_module(self, mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        return rewrite_functions(mod, _Tabulate)
