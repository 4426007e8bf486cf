"""Go from codes to codes in one step.

    quantize(dequantize(x, s_x, z_x), s, z)                      -> requantize(x, s_x / s)
    quantize(dequantize(x, s_x, 0) + c, s, z)                    -> requantize(x, s_x / s, c / s)
    quantize(dequantize(a) + dequantize(b), s, z)                -> add(a, b)
    quantize(dequantize(a) * dequantize(b), s, z)                -> multiply(a, b)
    quantize(relu(v)), quantize(clip(v, l, h))                   -> the same with tighter clamps

x: codes or int32 sums, s_x along the last axis or single; c: constant along the last axis, behind
sums also a dequantized one (a bias too large to be added to them); a, b: codes of up to 8 bits with
one scale each; s (positive) and z: single. Rounding and clamping keep the order, so a relu or clip
before them is a clamp after them, exactly. Codes with equal parameters are the codes themselves.
Left alone: rounding other than half to even.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax
from tvm.ir import IRModule

from qcompile.ops import add, multiply, requantize
from qcompile.ops.quantize import code_range, stored_dtype
from qcompile.passes.facts import Codes, codes_behind, constant, scalar, vector
from qcompile.passes.rewriter import (
    BindingRewriter,
    operator_name,
    rewrite_functions,
    shape_of,
)


@dataclass(frozen=True)
class _Output:
    """Codes to produce: clamp(rint(value / scale) + zero, low, high) stored as dtype."""

    scale: float
    zero: int
    low: int
    high: int
    dtype: str

    def code(self, value: float) -> int:
        """The code of a real value."""
        ratio = np.float32(value) / np.float32(self.scale)
        return int(np.clip(np.rint(ratio) + self.zero, self.low, self.high))

    def clamped(self, low: float | None, high: float | None) -> "_Output":
        """The codes of values clipped to [low, high] first."""
        lowest = self.low if low is None else self.code(low)
        highest = self.high if high is None else self.code(high)
        return _Output(self.scale, self.zero, lowest, max(lowest, highest), self.dtype)

    def attributes(self) -> dict[str, Any]:
        return {
            "zero_point": self.zero,
            "low": self.low,
            "high": self.high,
            "dtype": self.dtype,
        }


class _Requantize(BindingRewriter):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        output = self._output(call)
        if output is None:
            return None
        value, output = self._through_clamps(call.args[0], output)
        codes = codes_behind(self, value)
        if codes is not None:
            return self._from_codes(codes, None, output)
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
        if str(attributes["rounding"]) != "half_even" or int(attributes["bits"]) > 8:
            return None
        bits, signed = int(attributes["bits"]), bool(attributes["signed"])
        low, high = code_range(bits, signed, bool(attributes["narrow"]))
        dtype = stored_dtype(bits, signed)
        return _Output(float(scale.reshape(-1)[0]), int(zero.reshape(-1)[0]), low, high, dtype)

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

    def _from_codes(
        self, codes: Codes, offset: NDArray[np.float32] | None, output: _Output
    ) -> relax.Expr | None:
        axis_free = codes.scale.size == 1 or codes.axis == len(shape_of(codes.data)) - 1
        if codes.zero.size != 1 or not axis_free or codes.bits > 32:
            return None
        if offset is None and self._identical(codes, output):
            return codes.data
        ratio = codes.scale.astype("float64") / output.scale
        ratio = ratio.reshape(()) if ratio.size == 1 else ratio.reshape(-1)
        shift = None if offset is None else vector(offset / output.scale, "float32")
        return requantize(
            codes.data,
            vector(ratio, "float32") if ratio.ndim else scalar(float(ratio)),
            shift,
            input_zero=codes.zero_point,
            **output.attributes(),
        )

    def _identical(self, codes: Codes, output: _Output) -> bool:
        """Whether the codes are the wanted ones already."""
        low, high = code_range(codes.bits, codes.signed, False)
        return (
            codes.per_tensor
            and codes.dtype == output.dtype
            and float(codes.scale.reshape(-1)[0]) == output.scale
            and codes.zero_point == output.zero
            and output.low <= low
            and high <= output.high
        )

    def _sum(self, call: tvm.ir.Call, output: _Output) -> relax.Expr | None:
        for value, other in (call.args, list(reversed(call.args))):
            codes = codes_behind(self, value)
            if codes is None or shape_of(call) != shape_of(value):
                continue
            offset = self._offset(other, codes)
            if offset is not None and _along_last(offset, shape_of(value)[-1]):
                offset = offset.reshape(-1) if offset.size > 1 else offset.reshape(())
                return self._from_codes(codes, offset.astype("float64"), output)
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

    def _offset(self, value: relax.Expr, codes: Codes) -> NDArray[Any] | None:
        """A constant added to `codes`: as it is, or to sums, dequantized."""
        own = None if codes.eight_bits else codes_behind(self, value)
        stored = None if own is None else constant(self.definition(own.data))
        if own is None or stored is None:
            return constant(self.definition(value))
        along = [-1 if axis == own.axis else 1 for axis in range(stored.ndim)]
        zero, scale = (
            a.reshape(along) if a.size > 1 else a.reshape(()) for a in (own.zero, own.scale)
        )
        return np.asarray((stored.astype("int64") - zero).astype("float32") * scale)

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


def _along_last(array: NDArray[Any], channels: int) -> bool:
    """Whether a float32 constant varies along the last axis at most."""
    if str(array.dtype) != "float32":
        return False
    return array.size == 1 or (array.size == channels and array.shape[-1] == channels)


@tvm.transform.module_pass(opt_level=0, name="Requantize")
class Requantize:
    def transform_module(self, mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        return rewrite_functions(mod, _Requantize)
