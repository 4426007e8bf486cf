"""Make the scales of an integer form powers of two, for hardware that shifts and cannot multiply.

    requantize(conv2d(x, w, b), m, t) -> requantize(conv2d(x, w', b'), 2^-s)
    requantize(dense(x, w, b), m, t)  -> requantize(dense(x, w', b'), 2^-s)
    requantize(x, m), m one value     -> requantize(x, d 2^-s)
    add(a, b), scales m_a, m_b        -> add(a, b), scales d_a 2^-s, d_b 2^-s

w', b': power_of_two_weights.py; d: up to MAX_FACTOR; ties are rounded towards plus infinity. x of
the third: codes or sums of a pool. What was done is noted in the module attribute
`qcompile.power_of_two`. Left alone, and exact: thresholds of two codes. Also exact, and named there
with the reason: roundings towards or away from zero, thresholds of more codes, sums that others
read too, scales that vary along other axes than the channels', products of two tensors.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax
from tvm.ir import IRModule

from qcompile.bounds import bounded
from qcompile.ops import add, requantize
from qcompile.ops.contractions import CONV2D, DENSE
from qcompile.ops.pool import SUM_POOL2D
from qcompile.ops.registry import call_op
from qcompile.ops.requantize import ADD, MULTIPLY, REQUANTIZE
from qcompile.ops.threshold import THRESHOLD
from qcompile.passes.facts import array_of, constant, scalar, vector
from qcompile.passes.power_of_two_weights import (
    ShiftedWeights,
    shifted_factors,
    shifted_weights,
)
from qcompile.passes.rewriter import (
    BindingRewriter,
    dtype_of,
    operator_name,
    rewrite_functions,
    shape_of,
)

REPORT = "qcompile.power_of_two"
HALF_CEIL = "half_ceil"
BITS = 8
NEAREST = ("half_even", "half_odd", "half_up", "half_down", HALF_CEIL)
BEFORE_ROUNDING = dict.fromkeys(NEAREST, 0.0) | {"floor": -0.5, "ceil": 0.5}
NOTHING: dict[str, Any] = {"shift": (), "per_channel": False, "error": 0.0, "layer_error": 0.0}
KEPT = ("zero_point", "low", "high", "dtype")


@dataclass(frozen=True)
class Rescaled:
    """What became of the scale of one layer.

    shift: of the channels, from the least to the largest; () where the scale stays as it was, and
    `reason` says why. error: of the weights with their scale, relative to them; layer_error: the
    same with one shift for all channels.
    """

    layer: str
    op: str
    shift: tuple[int, ...]
    per_channel: bool
    error: float
    layer_error: float
    reason: str = ""


class _PowerOfTwo(BindingRewriter):
    def __init__(self, bits: int) -> None:
        super().__init__()
        self._bits = bits
        self.report: list[Rescaled] = []

    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        rules: dict[str, Callable[[tvm.ir.Call, str], relax.Expr | str]] = {
            REQUANTIZE: self._requantize,
            THRESHOLD: _threshold,
            ADD: self._add,
            MULTIPLY: lambda call, name: "a product of two tensors",
        }
        rule = rules.get(operator_name(call))
        if rule is None:
            return None
        made = rule(call, name)
        if isinstance(made, str):
            self._note(name, call, reason=made)
            return None
        return None if made is call else made

    def _requantize(self, call: tvm.ir.Call, name: str) -> relax.Expr | str:
        product = self.call_of(call.args[0], CONV2D, DENSE)
        if product is None:
            return self._scaled(call, name)
        if self.reads.get(call.args[0]) != 1:
            return "something else reads its sums"
        channels = shape_of(call)[-1]
        parameters = [_along_channels(constant(a), channels) for a in call.args[1:]]
        if any(parameter is None for parameter in parameters):
            return "its scale varies along other axes than the channels'"
        factor, *offset = (parameter for parameter in parameters if parameter is not None)
        before = BEFORE_ROUNDING.get(str(call.attrs["rounding"]))
        if before is None:
            return f"its rounding is {call.attrs['rounding']}"
        weights, bias = (array_of(argument) for argument in product.args[1:])
        made = shifted_weights(
            weights,
            bias.astype("float64") - int(call.attrs["input_zero"]),
            factor,
            sum(offset, start=np.full(channels, before)),
            largest=_largest(product),
            bits=self._bits,
        )
        if made is None:
            return "no shift holds its weights and sums"
        return self._shifted(call, product, made)

    def _shifted(self, call: tvm.ir.Call, product: tvm.ir.Call, made: ShiftedWeights) -> relax.Expr:
        layer = str(product.attrs["layer"])
        sums = self._with_weights(product, made.weights, made.bias, self._bits)
        shifts = made.shift if made.per_channel else made.shift[:1]
        self._note(
            layer,
            product,
            shift=tuple(int(s) for s in np.unique(shifts)),
            per_channel=made.per_channel,
            error=made.error,
            layer_error=made.layer_error,
        )
        scale = 2.0**-shifts
        factor = vector(scale, "float32") if made.per_channel else scalar(scale[0])
        return requantize(sums, factor, None, input_zero=0, **_kept(call), rounding=HALF_CEIL)

    def _with_weights(
        self, product: tvm.ir.Call, weights: NDArray[Any], bias: NDArray[Any], bits: int
    ) -> relax.Var:
        """The sums of the same layer with other weights."""
        arguments = [product.args[0], vector(weights, "int8"), vector(bias, "int32")]
        attributes = dict(product.attrs.items()) | {"w_bits": bits}
        layer = str(product.attrs["layer"])
        return self.emit(call_op(operator_name(product), arguments, **attributes), layer)

    def _scaled(self, call: tvm.ir.Call, name: str) -> relax.Expr | str:
        """Codes, or sums of a pool, of one scale."""
        if str(call.attrs["rounding"]) not in NEAREST:
            return f"its rounding is {call.attrs['rounding']}"
        parameters = [constant(argument) for argument in call.args[1:]]
        if len(parameters) > 1 or parameters[0] is None or parameters[0].size != 1:
            return "its scale varies, or something is added"
        data = call.args[0]
        if dtype_of(data) == "int32" and self.call_of(data, SUM_POOL2D) is None:
            return "its sums are of no convolution, product or pool"
        scale = float(parameters[0].reshape(-1)[0])
        (factor,), shift, error = shifted_factors([scale])
        self._note(name, call, shift=(shift,), error=error, layer_error=error)
        attributes = _kept(call) | {"input_zero": int(call.attrs["input_zero"])}
        return requantize(
            data, scalar(factor * 2.0**-shift), None, **attributes, rounding=HALF_CEIL
        )

    def _add(self, call: tvm.ir.Call, name: str) -> relax.Expr | str:
        if str(call.attrs["rounding"]) not in NEAREST:
            return f"its rounding is {call.attrs['rounding']}"
        scales = [float(call.attrs[key]) for key in ("scale_a", "scale_b")]
        (a, b), shift, error = shifted_factors(scales)
        self._note(name, call, shift=(shift,), error=error, layer_error=error)
        return add(
            *call.args,
            scales=(a * 2.0**-shift, b * 2.0**-shift),
            zeros=(int(call.attrs["zero_a"]), int(call.attrs["zero_b"])),
            **_kept(call),
            rounding=HALF_CEIL,
        )

    def _note(self, name: str, call: tvm.ir.Call, **found: Any) -> None:
        op = operator_name(call).rpartition(".")[2]
        self.report.append(Rescaled(layer=name, op=op, **NOTHING | found))


def _threshold(call: tvm.ir.Call, _: str) -> relax.Expr | str:
    """Two codes need no scale: a clamp makes them of the sums less the threshold."""
    several = shape_of(call.args[1])[0] > 1
    return "thresholds of more than two codes" if several else call


def _kept(call: tvm.ir.Call) -> dict[str, Any]:
    """The attributes of the codes that are made."""
    return {k: str(call.attrs[k]) if k == "dtype" else int(call.attrs[k]) for k in KEPT}


def _along_channels(array: NDArray[Any] | None, channels: int) -> NDArray[np.float64] | None:
    """(channels,) values of a constant that varies along the last axis at most."""
    if array is None or (array.size != 1 and array.size != array.shape[-1]):
        return None
    return np.broadcast_to(array.reshape(-1).astype("float64"), (channels,))


def _largest(product: tvm.ir.Call) -> int:
    """The largest |code - zero| of the data of a layer."""
    found = bounded(product, None)
    assert found is not None
    zero = int(product.attrs["zero_point"])
    return max(abs(code - zero) for code in found[0])


def PowerOfTwo(bits: int = BITS) -> tvm.transform.Pass:  # noqa: N802 (passes are named so)
    """The pass for weights of so many bits."""

    def transform(mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        report: list[Rescaled] = []

        def rewriter() -> _PowerOfTwo:
            made = _PowerOfTwo(bits)
            made.report = report
            return made

        mod = rewrite_functions(mod, rewriter)
        return mod.with_attr(REPORT, json.dumps([asdict(layer) for layer in report]))

    return tvm.transform.module_pass(transform, opt_level=0, name="PowerOfTwo")


def rescaled_layers(mod: IRModule) -> tuple[Rescaled, ...]:
    """What PowerOfTwo did to the layers of a module; () where it did not run."""
    attributes = mod.attrs or {}
    found = json.loads(str(attributes[REPORT])) if REPORT in attributes else []
    return tuple(Rescaled(**layer | {"shift": tuple(layer["shift"])}) for layer in found)
