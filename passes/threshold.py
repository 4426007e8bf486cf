"""Compare integers with thresholds instead of computing floats, where the codes have few bits.

    quantize(f(g(dequantize(x, s_x, z_x))), s, z)     -> threshold(x, T)
    multi_threshold(f(g(dequantize(x, s_x, z_x))), t) -> threshold(x, T)

f, g: operators that keep or turn the order of their operand (sums with constants, products, clips,
relu, leaky relu, sigmoid, batch normalization as product and sum, ...), constants single or along
the last axis; x: sums (int32) or codes; the result of quantize: bipolar or of up to `bits` bits,
MAX_BITS by default, rounded in any way; of multi_threshold: up to MAX_LEVELS. T[k, o] is the
smallest x whose code is at least the k-th, found by bisection over the model's own float32
operators: a composition of rounded monotonic functions is monotonic, so the codes are exactly
theirs, ties included. Channels that turn the order count the other way round. Left alone: several
sources, other operators, more codes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import tvm
from tvm import relax
from tvm.ir import IRModule

from qcompile.ops import threshold
from qcompile.ops.quantize import code_range, is_bipolar, stored_dtype
from qcompile.ops.threshold import MULTI_THRESHOLD
from qcompile.passes.chains import LEAKY, PRELU, Array, codes_made, evaluate, source_of
from qcompile.passes.facts import Codes, constant, vector
from qcompile.passes.rewriter import (
    BindingRewriter,
    operator_name,
    rewrite_functions,
    shape_of,
)

MAX_LEVELS = 15
MAX_BITS = 2  # three comparisons cost about as much as a scale, a rounding and two clamps
ALWAYS, NEVER = -(2**31), 2**31 - 1
SHORT = -(2**15), 2**15 - 1  # ALWAYS and NEVER for codes
SUMS = 2**30  # sums of products and their biases are proved to be smaller
ORDERED = {
    *(f"relax.{name}" for name in ("add", "subtract", "multiply", "maximum", "minimum", "clip")),
    *(f"relax.{name}" for name in ("sigmoid", "tanh", "round", "floor", "ceil", "sign")),
    *("relax.negative", "relax.nn.relu", "relax.nn.relu6"),
}


@dataclass(frozen=True)
class _Codes:
    """The codes low, low + step, ... that an operator makes of real values (..., O)."""

    low: int
    step: int
    levels: int
    dtype: str
    made: Callable[[Array], Array]


class _Threshold(BindingRewriter):
    def __init__(self, bits: int) -> None:
        super().__init__()
        self._bits = bits

    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        codes = _codes_of(call, self._bits)
        source = None if codes is None else source_of(self, call.args[0], _keeps_order)
        if codes is None or source is None or not _along_last(source):
            return None
        if shape_of(source.data) != shape_of(call):
            return None
        thresholds, flip = self._thresholds(call.args[0], source, codes)
        turned = vector(flip, "int32") if flip.any() else None
        data = vector(thresholds, "int32")
        if source.eight_bits:
            data = vector(thresholds.clip(*SHORT), "int16")
        return threshold(
            source.data, data, turned, low=codes.low, step=codes.step, dtype=codes.dtype
        )

    def _thresholds(self, value: relax.Expr, source: Codes, codes: _Codes) -> tuple[Array, Array]:
        """(levels, O) thresholds, and (O,) -1 where codes fall while x rises, else 0."""
        channels = shape_of(source.data)[-1]
        least, most = _range(source)

        def made(x: Array) -> Array:
            with np.errstate(all="ignore"):
                return codes.made(evaluate(self, value, x)).astype("int64")

        ends = [made(np.full((1, channels), end, "int64"))[0] for end in (least, most)]
        flip = np.where(ends[0] > ends[1], -1, 0)
        levels = codes.low + codes.step * np.arange(1, codes.levels + 1)[:, None]

        def passed(x: Array) -> Array:
            """Whether x has reached the level, seen in the direction in which codes rise.

            Turned around, x < T is what reaches a level: T is the smallest x that does not.
            """
            return np.where(flip < 0, made(x) < levels, made(x) >= levels)

        low = np.full((len(levels), channels), least, "int64")
        high = np.full_like(low, most)
        always, never = passed(low), ~passed(high)
        while (high - low > 1).any():
            middle = (low + high) // 2
            reached = passed(middle)
            high, low = np.where(reached, middle, high), np.where(reached, low, middle)
        thresholds = np.where(always, ALWAYS, np.where(never, NEVER, high))
        return np.sort(thresholds, axis=0), flip


def _codes_of(call: tvm.ir.Call, most_bits: int) -> _Codes | None:
    """What a quantize or multi_threshold makes, where it has few codes and single parameters."""
    parameters = [constant(argument) for argument in call.args[1:]]
    if operator_name(call) == MULTI_THRESHOLD:
        (limits,) = parameters
        last = int(call.attrs["axis"]) % len(shape_of(call)) == len(shape_of(call)) - 1
        if limits is None or limits.shape[1] > MAX_LEVELS or not (last or len(limits) == 1):
            return None
        return _Codes(0, 1, limits.shape[1], "uint8", partial(_count, limits))
    if operator_name(call) != "qcompile.quantize" or int(call.attrs["bits"]) > most_bits:
        return None
    if any(array is None or array.size != 1 for array in parameters):
        return None
    bits, signed, narrow = (int(call.attrs[key]) for key in ("bits", "signed", "narrow"))
    low, high = code_range(bits, bool(signed), bool(narrow))
    step = high - low if is_bipolar(bits, bool(signed), bool(narrow)) else 1
    dtype = stored_dtype(bits, bool(signed))
    return _Codes(low, step, (high - low) // step, dtype, partial(codes_made, call))


def _count(limits: Array, real: Array) -> Array:
    """How many of limits (O or 1, levels) each of `real` (..., O) reaches."""
    return (real[..., None] >= limits).sum(axis=-1)


def _range(source: Codes) -> tuple[int, int]:
    """The smallest and the largest value that the source may take."""
    if not source.eight_bits:
        return -SUMS, SUMS
    return (-128, 127) if source.dtype == "int8" else (0, 255)


def _along_last(source: Codes) -> bool:
    return source.scale.size == 1 or source.axis == len(shape_of(source.data)) - 1


def _keeps_order(call: tvm.ir.Call, arrays: list[Array | None]) -> bool:
    """Whether an operator is monotonic in its one operand that is not constant."""
    operator = operator_name(call)
    if operator == LEAKY:
        return float(call.attrs.alpha) >= 0
    if operator == PRELU:
        return arrays[1] is not None and bool((arrays[1] >= 0).all())
    if operator == "relax.divide":
        return arrays[1] is not None and bool((arrays[1] != 0).all())
    finite = all(array is None or bool(np.isfinite(array).all()) for array in arrays)
    variables = [a for a, b in zip(call.args, arrays, strict=True) if b is None]
    return operator in ORDERED and finite and sum(isinstance(v, relax.Var) for v in variables) == 1


def Threshold(bits: int = MAX_BITS) -> tvm.transform.Pass:  # noqa: N802 (passes are named so)
    """The pass for codes of up to so many bits."""

    def transform(mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        return rewrite_functions(mod, partial(_Threshold, bits))

    return tvm.transform.module_pass(transform, opt_level=0, name="Threshold")
