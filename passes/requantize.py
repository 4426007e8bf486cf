"""Go from codes to codes in one step.

    quantize(dequantize(x, s_x, z_x), s, z)          -> requantize(x, s_x / s)
    quantize(dequantize(x, s_x, z_x) * f + c, s, z)  -> requantize(x, s_x * f / s, c / s)
    quantize(dequantize(a) + dequantize(b), s, z)    -> add(a, b)
    quantize(dequantize(a) * dequantize(b), s, z)    -> multiply(a, b)
    quantize(relu(v)), quantize(clip(v, l, h))       -> the same with tighter clamps

x: codes or int32 sums, s_x along the last axis or single; f, c: constants that broadcast to the
shape of x, either may be absent; s (positive) and z: single; in the sum and product of two, codes
of up to 8 bits with one scale each. Rounding and clamping keep the order, so a relu or clip before
them is a clamp after them, exactly. Codes with equal parameters are the codes themselves. Left
alone: bipolar codes; one factor for all 8-bit codes, which is a table.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax
from tvm.ir import IRModule

from qcompile.ops import add, multiply, requantize
from qcompile.ops.quantize import code_range, is_bipolar, stored_dtype
from qcompile.ops.roundings import round_array
from qcompile.passes.facts import (
    Codes,
    codes_behind,
    constant,
    real_constant,
    scalar,
    vector,
)
from qcompile.passes.rewriter import (
    BindingRewriter,
    operator_name,
    rewrite_functions,
    shape_of,
)


@dataclass(frozen=True)
class _Output:
    """Codes to produce: clamp(round(value / scale) + zero, low, high) stored as dtype."""

    scale: float
    zero: int
    low: int
    high: int
    dtype: str
    rounding: str

    def code(self, value: float) -> int:
        """The code of a real value."""
        ratio = np.asarray(np.float32(value) / np.float32(self.scale))
        return int(np.clip(round_array(ratio, self.rounding) + self.zero, self.low, self.high))

    def clamped(self, low: float | None, high: float | None) -> "_Output":
        """The codes of values clipped to [low, high] first."""
        lowest = self.low if low is None else self.code(low)
        highest = self.high if high is None else self.code(high)
        return replace(self, low=lowest, high=max(lowest, highest))

    def attributes(self) -> dict[str, Any]:
        return {
            "zero_point": self.zero,
            "low": self.low,
            "high": self.high,
            "dtype": self.dtype,
            "rounding": self.rounding,
        }


class _Requantize(BindingRewriter):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        output = self._output(call)
        if output is None:
            return None
        value, output = self._through_clamps(call.args[0], output)
        scaled = self._affine(value, output)
        if scaled is not None:
            return scaled
        for operator, rule in (("relax.add", self._sum), ("relax.multiply", self._product)):
            inner = self.call_of(value, operator)
            if inner is not None:
                return rule(inner, output)
        return None

    def _output(self, call: tvm.ir.Call) -> _Output | None:
        if operator_name(call) != "qcompile.quantize":
            return None
        scale, zero = (constant(argument) for argument in call.args[1:])
        attributes = call.attrs
        if scale is None or zero is None or scale.size != 1 or zero.size != 1 or scale <= 0:
            return None
        bits, signed = int(attributes["bits"]), bool(attributes["signed"])
        narrow = bool(attributes["narrow"])
        if bits > 8 or is_bipolar(bits, signed, narrow):
            return None
        low, high = code_range(bits, signed, narrow)
        dtype = stored_dtype(bits, signed)
        return _Output(
            scale=float(scale.reshape(-1)[0]),
            zero=int(zero.reshape(-1)[0]),
            low=low,
            high=high,
            dtype=dtype,
            rounding=str(attributes["rounding"]),
        )

    def _through_clamps(self, value: relax.Expr, output: _Output) -> tuple[relax.Expr, _Output]:
        while True:
            clamp = self.call_of(value, "relax.nn.relu", "relax.clip", "relax.nn.relu6")
            if clamp is None:
                return value, output
            if operator_name(clamp) == "relax.clip":
                output = output.clamped(*(float(bound.value) for bound in clamp.args[1:]))
            else:
                six = 6.0 if operator_name(clamp) == "relax.nn.relu6" else None
                output = output.clamped(0.0, six)
            value = clamp.args[0]

    def _affine(self, value: relax.Expr, output: _Output) -> relax.Expr | None:
        """Codes of dequantize(x) * factor + offset, where `value` is that."""
        value, offset = self._apart(value, "relax.add")
        value, factor = self._apart(value, "relax.multiply")
        codes = codes_behind(self, value)
        if codes is None or codes.zero.size != 1 or codes.bits > 32:
            return None
        if codes.scale.size != 1 and codes.axis != len(shape_of(codes.data)) - 1:
            return None
        if factor is None and offset is None and self._identical(codes, output):
            return codes.data
        if factor is not None and codes.eight_bits and factor.size == 1:
            return None
        ratio = codes.scale.astype("float64") / output.scale
        ratio = ratio.reshape(-1) if factor is None else ratio * factor
        return requantize(
            codes.data,
            _parameter(ratio),
            None if offset is None else _parameter(offset / output.scale),
            input_zero=codes.zero_point,
            **output.attributes(),
        )

    def _apart(
        self, value: relax.Expr, operator: str
    ) -> tuple[relax.Expr, NDArray[np.float64] | None]:
        """The operand of a sum or product with a constant that broadcasts to it, and the constant.

        `value` and None where it is no such thing.
        """
        call = self.call_of(value, operator)
        for inner, other in () if call is None else (call.args, list(reversed(call.args))):
            array = self._wide_constant(other)
            if array is not None and shape_of(call) == shape_of(inner):
                return inner, array.astype("float64")
        return value, None

    def _wide_constant(self, value: relax.Expr) -> NDArray[np.float32] | None:
        """A float32 constant, or one of integers of more than 8 bits; 8-bit codes make a pair."""
        codes = codes_behind(self, value)
        array = real_constant(self, value)
        wide = codes is None or not codes.eight_bits
        return array if array is not None and wide and array.dtype == np.float32 else None

    def _identical(self, codes: Codes, output: _Output) -> bool:
        """Whether the codes are the wanted ones already."""
        low, high = code_range(codes.bits, codes.signed, codes.narrow)
        return (
            codes.per_tensor
            and codes.dtype == output.dtype
            and float(codes.scale.reshape(-1)[0]) == output.scale
            and codes.zero_point == output.zero
            and output.low <= low
            and high <= output.high
        )

    def _sum(self, call: tvm.ir.Call, output: _Output) -> relax.Expr | None:
        pair = self._pair(call)
        if pair is None:
            return None
        a, b = pair
        scales = [float(codes.scale.reshape(-1)[0]) / output.scale for codes in pair]
        return add(
            a.data,
            b.data,
            scales=(scales[0], scales[1]),
            zeros=(a.zero_point, b.zero_point),
            **output.attributes(),
        )

    def _product(self, call: tvm.ir.Call, output: _Output) -> relax.Expr | None:
        pair = self._pair(call)
        if pair is None:
            return None
        a, b = pair
        scale = float(a.scale.reshape(-1)[0]) * float(b.scale.reshape(-1)[0]) / output.scale
        return multiply(
            a.data,
            b.data,
            scale=scale,
            zeros=(a.zero_point, b.zero_point),
            **output.attributes(),
        )

    def _pair(self, call: tvm.ir.Call) -> tuple[Codes, Codes] | None:
        a, b = (codes_behind(self, argument) for argument in call.args)
        if a is None or b is None:
            return None
        if not all(codes.per_tensor and codes.eight_bits for codes in (a, b)):
            return None
        return a, b


def _parameter(array: NDArray[np.float64]) -> relax.Expr:
    """A float32 parameter, 0-d or 1-d where it varies along the last axis at most."""
    if array.size == 1:
        return scalar(float(array.reshape(())))
    return vector(array.reshape(-1) if array.shape[-1] == array.size else array, "float32")


@tvm.transform.module_pass(opt_level=0, name="Requantize")
class Requantize:
    def transform_module(self, mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        return rewrite_functions(mod, _Requantize)
