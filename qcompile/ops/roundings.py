"""How quantization rounds a float32 to an integer, by name: as TE expressions and in NumPy.

    half_even, half_odd    to the nearest; ties to the even or odd integer
    half_up, half_down     to the nearest; ties away from zero, or towards it
    half_ceil              to the nearest; ties towards plus infinity
    up, down               away from zero, or towards it
    ceil, floor            towards plus or minus infinity

All are exact: a value's fraction v - trunc(v) is a float32. half_odd is half_even for codes with an
odd zero point that is added before rounding. half_ceil of an integer times 2^-n is what an addition
of 2^(n-1) and an arithmetic shift by n make. QONNX Quant, `rounding_mode`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import tirx

Array = NDArray[Any]
HALF_EVEN = "half_even"


def _zero() -> tirx.Expr:
    return tirx.const(0.0, "float32")


def _step(value: tirx.Expr) -> tirx.Expr:
    """1 with the sign of `value`."""
    one = tirx.const(1.0, "float32")
    return tirx.Select(value < _zero(), -one, one)


def _away(value: tirx.Expr, moves: Callable[[tirx.Expr, tirx.Expr], tirx.Expr]) -> tirx.Expr:
    """trunc(value), one further from zero where moves(magnitude of the fraction, trunc) holds."""
    whole = tirx.trunc(value)
    fraction = tirx.abs(value - whole)
    return whole + tirx.Select(moves(fraction, whole), _step(value), _zero())


def _half_ceil(value: tirx.Expr) -> tirx.Expr:
    whole = tirx.floor(value)
    one = tirx.const(1.0, "float32")
    return whole + tirx.Select(value - whole >= _half(), one, _zero())


def _half() -> tirx.Expr:
    return tirx.const(0.5, "float32")


def _even(whole: tirx.Expr) -> tirx.Expr:
    half = whole * _half()
    return half == tirx.trunc(half)


EXPRESSIONS: dict[str, Callable[[tirx.Expr], tirx.Expr]] = {
    "half_even": tirx.round,
    "half_odd": lambda v: _away(
        v, lambda f, w: tirx.any(f > _half(), tirx.all(f == _half(), _even(w)))
    ),
    "half_up": lambda v: _away(v, lambda f, w: f >= _half()),
    "half_down": lambda v: _away(v, lambda f, w: f > _half()),
    "half_ceil": _half_ceil,
    "up": lambda v: _away(v, lambda f, w: f > _zero()),
    "down": tirx.trunc,
    "ceil": tirx.ceil,
    "floor": tirx.floor,
}


def _away_array(v: Array, moves: Callable[[Array, Array], Array]) -> Array:
    whole = np.trunc(v)
    return whole + np.where(moves(np.abs(v - whole), whole), np.where(v < 0, -1, 1), 0)


ARRAYS: dict[str, Callable[[Array], Array]] = {
    "half_even": np.rint,
    "half_odd": lambda v: _away_array(v, lambda f, w: (f > 0.5) | ((f == 0.5) & (w % 2 == 0))),
    "half_up": lambda v: _away_array(v, lambda f, w: f >= 0.5),
    "half_down": lambda v: _away_array(v, lambda f, w: f > 0.5),
    "half_ceil": lambda v: np.floor(v) + (v - np.floor(v) >= 0.5),
    "up": lambda v: _away_array(v, lambda f, w: f > 0),
    "down": np.trunc,
    "ceil": np.ceil,
    "floor": np.floor,
}


def round_array(values: Array, rounding: str) -> Array:
    """`values` rounded to integers, in their own float type."""
    return np.asarray(ARRAYS[rounding](values), values.dtype)
