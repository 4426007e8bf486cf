"""Write a quantizer in float operators as quantize and dequantize.

    round(clip(v, low, high))          -> dequantize(quantize(clip(v, low, high), 1, 0), 1, 0)
    round(clip(x / s, low, high))      -> dequantize(quantize(x, s, 0), 1, 0), [low, high] the codes
    clip(round(v), low, high)          -> the first form; low and high whole
    clip(dequantize(quantize(x)))      -> quantize with fewer codes, where [low, high] are these
    dequantize(q, 1, z) * c, / c       -> dequantize(q, c, z), where it gives the same values
    dequantize(q, 1, z) + c, - c       -> dequantize(q, 1, z - c), c whole

round: also floor, ceil and trunc, as the rounding of quantize. Between clip and rounding there may
be products, quotients and sums with constants; rounding keeps the order, so their bounds are bounds
of the codes. Codes take 8 bits at most; "the same values" is tried for every code. Frameworks write
out trained quantizers so: round(clip(x / s, -8, 7)) * s, round(clip(x, 0, 1) * 3) / 3.
"""

from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax
from tvm.ir import IRModule

from qcompile.ops import dequantize, quantize
from qcompile.ops.quantize import code_range, stored_dtype
from qcompile.ops.roundings import HALF_EVEN
from qcompile.passes.facts import Codes, codes_of, constant, scalar
from qcompile.passes.rewriter import (
    BindingRewriter,
    dtype_of,
    operator_name,
    rewrite_functions,
    shape_of,
)

Array = NDArray[Any]
ROUNDINGS = {
    "relax.round": HALF_EVEN,
    "relax.floor": "floor",
    "relax.ceil": "ceil",
    "relax.trunc": "down",
}
AFFINE = {
    "relax.add": np.add,
    "relax.subtract": np.subtract,
    "relax.multiply": np.multiply,
    "relax.divide": np.divide,
}
MOST_BITS = 8


class _RoundedAsQuantize(BindingRewriter):
    def __init__(self) -> None:
        super().__init__()
        self._made: set[relax.Expr] = set()  # the dequantizes of this pass

    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        if not isinstance(call.ty, relax.TensorType) or dtype_of(call) != "float32":
            return None
        operator, written = operator_name(call), None
        if operator in ROUNDINGS:
            written = self._rounded(call.args[0], ROUNDINGS[operator])
        elif operator == "relax.clip":
            written = self._clipped(call)
        elif operator in AFFINE:
            written = self._rescaled(call)
        if written is None:
            return None
        var = self.emit(written, name)
        self._made.add(var)
        return var

    def _rounded(self, v: relax.Expr, rounding: str) -> relax.Expr | None:
        """The dequantized codes of a value with bounds."""
        bounds = self._bounds(v)
        return None if bounds is None else self._codes(v, bounds, rounding)

    def _clipped(self, call: tvm.ir.Call) -> relax.Expr | None:
        """clip(round(v)) as the codes of clip(v), or as fewer codes than there were."""
        low, high = _limits(call)
        if low != np.rint(low) or high != np.rint(high):
            return None
        if call.args[0] in self._made:
            return self._fewer(call.args[0], low, high)
        rounded = self.call_of(call.args[0], *ROUNDINGS)
        if rounded is None:
            return None
        v = self.emit(relax.op.clip(rounded.args[0], low, high))
        return self._rounded(v, ROUNDINGS[operator_name(rounded)])

    def _fewer(self, value: relax.Expr, low: float, high: float) -> relax.Expr | None:
        codes = codes_of(self, self.definition(value))
        call = None if codes is None else self.call_of(codes.data, "qcompile.quantize")
        found = _range_of(low, high)
        if codes is None or call is None or found is None or not found[1]:
            return None
        if codes.scale != 1 or codes.zero_point != 0:
            return None
        kind, before = found[0], code_range(codes.bits, codes.signed, codes.narrow)
        if not before[0] <= low <= high <= before[1]:
            return None
        dtype = stored_dtype(kind["bits"], kind["signed"])
        zero = relax.const(np.zeros((), dtype), dtype)
        rounding = str(call.attrs["rounding"])
        q = self.emit(quantize(call.args[0], call.args[1], zero, **kind, rounding=rounding))
        return dequantize(q, scalar(1), zero, **kind)

    def _codes(
        self, v: relax.Expr, bounds: tuple[float, float], rounding: str
    ) -> relax.Expr | None:
        found = _range_of(*bounds)
        if found is None:
            return None
        kind, exact = found
        dtype = stored_dtype(kind["bits"], kind["signed"])
        x, scale, zero = v, scalar(1), relax.const(np.zeros((), dtype), dtype)
        clip = self.call_of(v, "relax.clip")
        quotient = None if clip is None else self.call_of(clip.args[0], "relax.divide")
        if exact and quotient is not None:
            divisor = constant(self.definition(quotient.args[1]))
            if divisor is not None and divisor.size == 1 and divisor > 0:
                x, scale = quotient.args[0], scalar(float(divisor.reshape(())))
        q = self.emit(quantize(x, scale, zero, **kind, rounding=rounding))
        return dequantize(q, scalar(1), zero, **kind)

    def _bounds(self, v: relax.Expr) -> tuple[float, float] | None:
        """What `v` lies between, from a clip through operators that keep or turn the order."""
        call = self.definition(v)
        operator = operator_name(call)
        if operator == "relax.clip":
            return _limits(call)
        if operator not in AFFINE:
            return None
        array = constant(self.definition(call.args[1]))
        inner = None if array is None or not array.size else self._bounds(call.args[0])
        if array is None or inner is None:
            return None
        with np.errstate(all="ignore"):
            ends = np.stack([AFFINE[operator](np.float32(end), array) for end in inner])
        return (float(ends.min()), float(ends.max())) if np.isfinite(ends).all() else None

    def _rescaled(self, call: tvm.ir.Call) -> relax.Expr | None:
        """The operator taken into the dequantize before it."""
        value, other = call.args
        if other in self._made and operator_name(call) in ("relax.add", "relax.multiply"):
            value, other = other, value
        codes = codes_of(self, self.definition(value)) if value in self._made else None
        array = constant(self.definition(other))
        if codes is None or array is None or str(array.dtype) != "float32":
            return None
        if array.size != 1 or shape_of(call) != shape_of(value) or not codes.per_tensor:
            return None
        number = array.reshape(())
        low, high = code_range(codes.bits, codes.signed, codes.narrow)
        q = np.arange(low, high + 1) - codes.zero_point
        before = q.astype("float32") * codes.scale.reshape(())
        with np.errstate(all="ignore"):
            wanted = AFFINE[operator_name(call)](before, number)
        for scale, zero in _candidates(codes, operator_name(call), number):
            centred = (np.arange(low, high + 1) - zero).astype("float32")
            if zero in _stored(codes) and (centred * np.float32(scale) == wanted).all():
                return self._dequantized(codes, scale, zero)
        return None

    def _dequantized(self, codes: Codes, scale: np.float32, zero: int) -> relax.Expr:
        return dequantize(
            codes.data,
            scalar(scale),
            relax.const(np.asarray(zero, codes.dtype), codes.dtype),
            bits=codes.bits,
            signed=codes.signed,
            narrow=codes.narrow,
        )


def _limits(clip: tvm.ir.Call) -> tuple[float, float]:
    low, high = (float(bound.value) for bound in clip.args[1:])
    return low, high


def _range_of(low: float, high: float) -> tuple[dict[str, Any], bool] | None:
    """The fewest bits whose codes hold every integer between, and whether they are just these."""
    if not (np.isfinite(low) and np.isfinite(high)):
        return None
    least, most = int(np.floor(low)), int(np.ceil(high))
    for bits in range(1, MOST_BITS + 1):
        for signed, narrow in ((False, False), (True, True), (True, False)):
            limits = code_range(bits, signed, narrow)
            if (bits == 1 and signed) or not limits[0] <= least <= most <= limits[1]:
                continue
            return {"bits": bits, "signed": signed, "narrow": narrow}, limits == (low, high)
    return None


def _candidates(codes: Codes, operator: str, value: Array) -> list[tuple[np.float32, int]]:
    """Scales and zero points that may give the values behind an operator with a constant."""
    scale = np.float32(codes.scale.reshape(-1)[0])
    if operator in ("relax.multiply", "relax.divide"):
        scaled = np.float32(AFFINE[operator](scale, value))
        return [(scaled, codes.zero_point)] if scaled > 0 and np.isfinite(scaled) else []
    shift = float(value) / float(scale)
    if shift != np.rint(shift) or abs(shift) > 2**MOST_BITS:
        return []
    signed = -int(shift) if operator == "relax.add" else int(shift)
    return [(scale, codes.zero_point + signed)]


def _stored(codes: Codes) -> range:
    limits = np.iinfo(codes.dtype)
    return range(int(limits.min), int(limits.max) + 1)


@tvm.transform.module_pass(opt_level=0, name="RoundedAsQuantize")
class RoundedAsQuantize:
    def transform_module(self, mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        return rewrite_functions(mod, _RoundedAsQuantize)
