"""Write what depends on the sign of a value alone as a quantize of one or two bits.

    y(x) = a for x < c, b for x = c, d for x > c                        a, b, d constants
        -> dequantize(quantize(x - c), d)                   -d, d, d    bipolar codes
        -> dequantize(quantize(c - x), a)                   a, a, -a    bipolar codes
        -> dequantize(quantize(x - c, rounding="up"), d)    -d, 0, d    two bits, signed, narrow
        -> dequantize(quantize(x - c), d / 2, -1)           0, d, d     bipolar, and so on

y: any chain of sign, comparisons with c, where, casts and arithmetic with constants, as frameworks
write a binary activation: where(x >= c, 1, -1), sign(sign(x) + 0.1), 2 * (x >= 0) - 1. The chain is
evaluated for the three cases in float32, so the values are exactly its own. A clip inside of which
c lies is passed over.

x >= c is x - c >= 0 in float32: unequal floats have a difference other than 0, because subnormal
numbers fill the gap around it, and one that overflows keeps its sign. c is finite; NaN has no side.
Rounding away from zero makes every positive value at least 1, so the clamp to -1..1 is the sign.
Left alone: three values that are no codes, constants that vary along several axes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax
from tvm.ir import IRModule

from qcompile.ops import dequantize, quantize
from qcompile.ops.roundings import HALF_EVEN
from qcompile.passes.facts import constant, scalar
from qcompile.passes.rewriter import (
    BindingRewriter,
    dtype_of,
    operator_name,
    rewrite_functions,
    shape_of,
)

Array = NDArray[Any]
BIPOLAR: dict[str, Any] = {"bits": 1, "signed": True, "narrow": True}
TERNARY: dict[str, Any] = {"bits": 2, "signed": True, "narrow": True}

COMPARISONS: dict[str, tuple[bool, bool, bool]] = {  # for x < c, x = c, x > c
    "relax.greater": (False, False, True),
    "relax.greater_equal": (False, True, True),
    "relax.less": (True, False, False),
    "relax.less_equal": (True, True, False),
    "relax.equal": (False, True, False),
    "relax.not_equal": (True, False, True),
}
ARITHMETIC: dict[str, Callable[..., Array]] = {
    "relax.abs": np.abs,
    "relax.add": np.add,
    "relax.astype": np.asarray,
    "relax.divide": np.divide,
    "relax.equal": np.equal,
    "relax.greater": np.greater,
    "relax.greater_equal": np.greater_equal,
    "relax.less": np.less,
    "relax.less_equal": np.less_equal,
    "relax.logical_and": np.logical_and,
    "relax.logical_not": np.logical_not,
    "relax.logical_or": np.logical_or,
    "relax.maximum": np.maximum,
    "relax.minimum": np.minimum,
    "relax.multiply": np.multiply,
    "relax.negative": np.negative,
    "relax.not_equal": np.not_equal,
    "relax.sign": np.sign,
    "relax.subtract": np.subtract,
    "relax.where": np.where,
}


@dataclass(frozen=True)
class _Sides:
    """A value that is below, at or above by whether x is less than, equal to or greater than c."""

    x: relax.Expr
    c: Array
    values: tuple[Array, Array, Array]

    def like(self, other: "_Sides") -> bool:
        return self.x.same_as(other.x) and np.array_equal(self.c, other.c)


class _SignAsQuantize(BindingRewriter):
    def __init__(self) -> None:
        super().__init__()
        self._sides: dict[relax.Expr, _Sides] = {}

    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        sides = self._derived(call) or self._first(call)
        if sides is None:
            return None
        written = self._written(sides) if dtype_of(call) == "float32" else None
        var = self.emit(call if written is None else written, name)
        self._sides[var] = sides
        return var

    def _first(self, call: tvm.ir.Call) -> _Sides | None:
        """The sides of a sign, or of a comparison with a constant."""
        operator = operator_name(call)
        if operator == "relax.sign" and dtype_of(call) == "float32":
            values = (np.float32(-1), np.float32(0), np.float32(1))
            return self._of(call.args[0], np.zeros((), "float32"), values)
        if operator not in COMPARISONS or dtype_of(call.args[0]) != "float32":
            return None
        left, right = (constant(self.definition(argument)) for argument in call.args)
        below, at, above = (np.bool_(value) for value in COMPARISONS[operator])
        if right is not None and shape_of(call) == shape_of(call.args[0]):
            return self._of(call.args[0], right, (below, at, above))
        if left is not None and shape_of(call) == shape_of(call.args[1]):
            mirrored = COMPARISONS[_mirrored(operator)]
            return self._of(call.args[1], left, tuple(np.bool_(v) for v in mirrored))
        return None

    def _of(self, x: relax.Expr, c: Array, values: Any) -> _Sides | None:
        if not np.isfinite(c).all() or constant(self.definition(x)) is not None:
            return None
        while (clip := self.call_of(x, "relax.clip")) is not None:
            low, high = (float(bound.value) for bound in clip.args[1:])
            if not ((c > low) & (c < high)).all():
                break
            x = clip.args[0]
        below, at, above = (np.asarray(value) for value in values)
        return _Sides(x, c, (below, at, above))

    def _derived(self, call: tvm.ir.Call) -> _Sides | None:
        """The sides of a call whose operands are constants and sides of one value."""
        operator = operator_name(call)
        if operator not in ARITHMETIC:
            return None
        known = [self._sides[a] for a in call.args if a in self._sides]
        if not known or not all(sides.like(known[0]) for sides in known):
            return None
        if shape_of(call) != shape_of(known[0].x):
            return None
        operands = [self._cases(argument) for argument in call.args]
        if any(operand is None for operand in operands):
            return None
        cases = zip(*(operand for operand in operands if operand is not None), strict=True)
        compute = ARITHMETIC[operator]
        dtype = dtype_of(call)
        with np.errstate(all="ignore"):
            below, at, above = (np.asarray(compute(*case)).astype(dtype) for case in cases)
        return _Sides(known[0].x, known[0].c, (below, at, above))

    def _cases(self, argument: relax.Expr) -> tuple[Array, Array, Array] | None:
        if argument in self._sides:
            return self._sides[argument].values
        array = constant(self.definition(argument))
        return None if array is None else (array, array, array)

    def _written(self, sides: _Sides) -> relax.Expr | None:
        """The value as codes, dequantized."""
        rank = len(shape_of(sides.x))
        below, at, above = np.broadcast_arrays(*sides.values)
        if (at == above).all():
            return self._bipolar(sides, above, below, rank, flipped=False)
        if (at == below).all():
            return self._bipolar(sides, below, above, rank, flipped=True)
        if not at.any() and (below == -above).all() and above.all():
            return self._codes(sides, TERNARY, above, 0, rank, flipped=False)
        return None

    def _bipolar(
        self, sides: _Sides, one: Array, minus_one: Array, rank: int, *, flipped: bool
    ) -> relax.Expr | None:
        """`one` and `minus_one` are what the codes 1 and -1 stand for: (1 - z) s, (-1 - z) s."""
        if (one == -minus_one).all() and one.all():
            scale, zero = one, 0
        elif not minus_one.any() and one.all():
            scale, zero = one / 2, -1
        elif not one.any() and minus_one.all():
            scale, zero = -minus_one / 2, 1
        else:
            return None
        if zero and (scale * 2 != one - minus_one).any():
            return None  # half of a subnormal number
        return self._codes(sides, BIPOLAR, scale, zero, rank, flipped=flipped)

    def _codes(
        self,
        sides: _Sides,
        kind: dict[str, Any],
        scale: Array,
        zero: int,
        rank: int,
        *,
        flipped: bool,
    ) -> relax.Expr | None:
        placed = _placed(scale, rank)
        if placed is None:
            return None
        factor, axis = placed
        rounding = "up" if kind == TERNARY else HALF_EVEN  # bipolar codes are not rounded
        x = self._difference(sides, flipped)
        q = self.emit(quantize(x, scalar(1), scalar(0, "int8"), **kind, rounding=rounding))
        zeros = relax.const(np.full(factor.shape, zero, "int8"), "int8")
        return dequantize(q, relax.const(factor, "float32"), zeros, axis=axis, **kind)

    def _difference(self, sides: _Sides, flipped: bool) -> relax.Expr:
        """x - c, or c - x."""
        c = relax.const(sides.c, "float32")
        if not sides.c.any():
            return self.emit(relax.op.negative(sides.x)) if flipped else sides.x
        pair = (c, sides.x) if flipped else (sides.x, c)
        return self.emit(relax.op.subtract(*pair))


def _mirrored(operator: str) -> str:
    """The comparison that holds with its sides exchanged."""
    if "greater" in operator:
        return operator.replace("greater", "less")
    return operator.replace("less", "greater")


def _placed(scale: Array, rank: int) -> tuple[Array, int] | None:
    """Scales as dequantize takes them and their axis, None where they vary along several."""
    if not np.isfinite(scale).all():
        return None
    scale = scale.reshape((1,) * (rank - scale.ndim) + scale.shape)
    first = scale.reshape(-1)[0]
    if (scale == first).all():
        return np.asarray(first, "float32"), 0
    varying = [axis for axis in range(rank) if scale.shape[axis] > 1]
    return (scale.reshape(-1), varying[0]) if len(varying) == 1 else None


@tvm.transform.module_pass(opt_level=0, name="SignAsQuantize")
class SignAsQuantize:
    def transform_module(self, mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        return rewrite_functions(mod, _SignAsQuantize)
