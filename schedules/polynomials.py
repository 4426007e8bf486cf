"""exp, sigmoid, tanh, erf and log of float32 in additions, multiplications, at most one division.

Largest errors in units of the last place of the float32 nearest to the exact result, where that
is a normal number: exp 1.1, sigmoid 2.5, tanh 5.7, erf 5.9, log 0.9. Infinities, NaN and zeros
come out as in C. Results below the normal numbers are within one unit; sigmoid's may be 0.

The coefficients are least-maximum fits by reweighted least squares, made for this file.
"""

from collections.abc import Sequence
from math import log

import numpy as np
from tvm import tirx

LN2_HIGH = 0.693359375  # 9 bits: times an integer below 2**15 it is exact
LN2_LOW = log(2) - LN2_HIGH
TO_INTEGER = 12582912.0  # 1.5 * 2**23: adding it rounds to an integer, in the lowest bits
SMALLEST_NORMAL = 2.0**-126
MANTISSA_BITS, BIAS = 23, 127
INFINITY, NAN = float("inf"), float("nan")
ROOT_HALF_BITS = 0x3F3504F3  # of sqrt(1/2)

# exp(r) = 1 + r + r^2 q(r) for |r| <= log(2) / 2: relative error 3.1e-9.
EXP = (0.49999994, 0.166665196, 0.0416683927, 0.00836878084, 0.00138144649)
# tanh(x) = x p(x^2) / q(x^2) for |x| <= 9.02: relative error 2.1e-8.
TANH_P = (1.0, 0.133797079, 0.00349402265, 2.05832876e-05, 1.33188109e-08)
TANH_Q = (1.0, 0.467130244, 0.0258710291, 0.00032830736, 7.76191087e-07)
TANH_END = 9.02  # beyond, tanh rounds to 1
# erf(x) = x p(x^2) / q(x^2) for |x| <= 4: relative error 2.5e-8.
ERF_P = (1.12837911, 0.193544745, 0.0531016812, 0.00388332363, 0.000284564419, 1.9867723e-06)
ERF_Q = (1.0, 0.504857123, 0.115349852, 0.0152072124, 0.00118556421, 3.74199917e-05)
ERF_END = 4.0  # beyond, erf rounds to 1
# log(1 + f) = f - f^2 / 2 + f^3 q(f) for 1 + f in [sqrt(1/2), sqrt(2)]: relative error 5.8e-9.
LOG = (
    *(0.333333313, -0.250008196, 0.200012267, -0.166233569),
    *(0.142017588, -0.131601825, 0.12761575, -0.0763449296),
)


def exp(x: tirx.Expr) -> tirx.Expr:
    """e**x = 2**n * e**r with n = round(x / log 2); 2**n as two factors, for every n."""
    steps = _Steps()
    x = _clipped(steps, steps.keep(x), -104.0, 89.0)  # whose exponentials are 0 and infinity
    shifted = steps.keep(x * (1 / log(2)) + TO_INTEGER)
    whole = steps.keep(shifted - TO_INTEGER)
    r = steps.keep((x - whole * LN2_HIGH) - whole * LN2_LOW)
    power = steps.keep(_horner(r, EXP) * (r * r) + r + 1.0)
    n = _bits(shifted) - _integer(TO_INTEGER)
    half = n >> 1
    return steps.result(power * _power_of_two(half) * _power_of_two(n - half))


def sigmoid(x: tirx.Expr) -> tirx.Expr:
    """1 / (1 + e**-x)."""
    return 1.0 / (exp(0.0 - x) + 1.0)


def tanh(x: tirx.Expr) -> tirx.Expr:
    return _odd_quotient(x, TANH_END, TANH_P, TANH_Q)


def erf(x: tirx.Expr) -> tirx.Expr:
    return _odd_quotient(x, ERF_END, ERF_P, ERF_Q)


def log_(x: tirx.Expr) -> tirx.Expr:
    """log x = e log 2 + log(1 + f) for x = 2**e (1 + f)."""
    steps = _Steps()
    x = steps.keep(x)
    small = x < SMALLEST_NORMAL
    normal = steps.keep(_select(small, x * 2.0**MANTISSA_BITS, x))
    bits = _bits(normal)
    exponent = (bits - ROOT_HALF_BITS) >> MANTISSA_BITS
    f = steps.keep(_float(bits - (exponent << MANTISSA_BITS)) - 1.0)
    e = exponent.astype(str(x.ty))
    e = steps.keep(_select(small, e - float(MANTISSA_BITS), e))
    square = steps.keep(f * f)
    tail = _horner(f, LOG) * (square * f) + e * LN2_LOW
    result = (tail - square * 0.5) + f + e * LN2_HIGH
    result = _select(x > 0.0, result, _select(x < 0.0, NAN, x - INFINITY))
    return steps.result(_select(x < INFINITY, result, x))


class _Steps:
    """Values that are used more than once, each computed once.

    Arguments are kept first: they may hold `Let`s of their own, and no variable has two of them.
    """

    def __init__(self) -> None:
        self.kept: list[tuple[tirx.Var, tirx.Expr]] = []

    def keep(self, value: tirx.Expr) -> tirx.Var:
        variable = tirx.Var(f"step{len(self.kept)}", value.ty)
        self.kept.append((variable, _opaque(value)))
        return variable

    def result(self, value: tirx.Expr) -> tirx.Expr:
        for variable, kept in reversed(self.kept):
            value = tirx.Let(variable, kept, value)
        return value


def _opaque(value: tirx.Expr) -> tirx.Expr:
    """`value` (float32), as a call that TVM takes for one with effects: value * 1 + -0.

    LLVM sees through it at once. TVM would write what it knows of a variable wherever that occurs;
    steps of steps would become as many copies as there are paths to them.
    """
    dtype = str(value.ty)
    one, zero = tirx.const(1.0, dtype), tirx.const(-0.0, dtype)
    return tirx.call_llvm_intrin(dtype, "llvm.fma", value, one, zero)


def _odd_quotient(x: tirx.Expr, end: float, p: Sequence[float], q: Sequence[float]) -> tirx.Expr:
    """x p(x^2) / q(x^2) for x in (-end, end), nowhere beyond 1; elsewhere -1 and 1."""
    steps = _Steps()
    x = _clipped(steps, steps.keep(x), -end, end)
    square = steps.keep(x * x)
    quotient = steps.keep(x * _horner(square, p) / _horner(square, q))
    low = steps.keep(_select(tirx.Or(x >= end, quotient > 1.0), 1.0, quotient))
    return steps.result(_select(tirx.Or(x <= -end, quotient < -1.0), -1.0, low))


def _clipped(steps: _Steps, x: tirx.Expr, low: float, high: float) -> tirx.Expr:
    """x in [low, high]; NaN stays."""
    below = steps.keep(_select(x > high, high, x))
    return steps.keep(_select(below < low, low, below))


def _horner(x: tirx.Expr, coefficients: Sequence[float]) -> tirx.Expr:
    *lower, result = coefficients
    for coefficient in reversed(lower):
        result = result * x + coefficient
    return result


def _select(condition: tirx.Expr, then: tirx.Expr | float, other: tirx.Expr) -> tirx.Expr:
    if isinstance(then, float):
        then = tirx.const(then, str(other.ty))
    return tirx.Select(condition, then, other)


def _bits(x: tirx.Expr) -> tirx.Expr:
    return tirx.reinterpret(str(x.ty).replace("float32", "int32"), x)


def _float(bits: tirx.Expr) -> tirx.Expr:
    return tirx.reinterpret(str(bits.ty).replace("int32", "float32"), bits)


def _integer(x: float) -> int:
    """The bits of a float32."""
    return int(np.float32(x).view(np.int32))


def _power_of_two(n: tirx.Expr) -> tirx.Expr:
    """2.0**n for n in [-126, 127]."""
    return _float((n + BIAS) << MANTISSA_BITS)
