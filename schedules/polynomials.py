"""exp, sigmoid, tanh, erf and log of float32 in additions, multiplications, at most one division.

Largest errors in units of the last place of the float32 nearest to the exact result, where that
is a normal number: exp 1.1, sigmoid 2.5, tanh 5.7, erf 5.9, log 0.9. Infinities, NaN and zeros
come out as in C. Results below the normal numbers are within one unit; sigmoid's may be 0.

They are intrinsics of TIR, `qcompile.exp` and so on, that become calls of functions in LLVM IR. As
expressions of TIR they would need `Let`, which TVM's analyzer expands wherever a variable occurs.

The coefficients are least-maximum fits by reweighted least squares, made for this file.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from math import log
from struct import pack, unpack
from typing import Any

import tvm
import tvm.ir._ffi_api
import tvm_ffi
from tvm import s_tir, tirx
from tvm.ir import register_op_attr

from qcompile.schedules.llvm_ir import Function, Value, with_functions

LANES = (1, 2, 4, 8, 16, 32, 64)  # of the vectors that schedules make

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


def register_polynomials() -> None:
    """Register the intrinsics `qcompile.exp` ... and their lowering; once is enough."""
    known = set(tvm.ir._ffi_api.ListOpNames())
    for name in FUNCTIONS:
        own = f"qcompile.{name}"
        if own in known:
            continue
        tvm.ir._ffi_api.RegisterOp(own, f"{name} of float32 by polynomials.")
        register_op_attr(own, "TVectorizable", True)
        register_op_attr(own, "TScriptPrinterName", f"polynomial_{name}")
        register_op_attr(own, "TCallEffectKind", int(tirx.CallEffectKind.Pure.value))
        tirx.register_intrin_lowering(own, target="llvm", f=partial(_call, name))


def import_polynomials(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """`func` with the definitions of the intrinsics that its blocks use, for LLVM to inline."""

    def imported(block: s_tir.SBlock) -> s_tir.SBlock:
        names = _used(block)
        if not names or _nodes(block.body, s_tir.SBlock):
            return block
        text = "".join(_definition(name, lanes) for name in names for lanes in LANES)
        return with_functions(block, text)

    return func.with_body(tvm_ffi.structural_map(func.body, (s_tir.SBlock, imported)))


def _used(block: s_tir.SBlock) -> list[str]:
    """The intrinsics in the block's body."""
    operators = {getattr(call.op, "name", "") for call in _nodes(block.body, tvm.ir.Call)}
    return [name for name in FUNCTIONS if f"qcompile.{name}" in operators]


def _nodes(root: Any, kind: type) -> list[Any]:
    found: list[Any] = []
    tvm_ffi.structural_walk(root, (kind, found.append))
    return found


def _call(name: str, call: tvm.ir.Call) -> tirx.Expr:
    lanes = tvm.DataType(str(call.ty)).lanes
    assert lanes in LANES, f"{name} of {lanes} lanes"
    return tirx.call_pure_extern(str(call.ty), _symbol(name, lanes), call.args[0])


@cache
def _definition(name: str, lanes: int) -> str:
    function = Function(_symbol(name, lanes), lanes)
    return function.text(FUNCTIONS[name](function.x))


def _symbol(name: str, lanes: int) -> str:
    return f"qcompile_{name}_f32x{lanes}"


def exp(x: Value) -> Value:
    """e**x = 2**n * e**r with n = round(x / log 2); 2**n as two factors, for every n."""
    x = _clipped(x, -104.0, 89.0)  # whose exponentials are 0 and infinity
    shifted = x * (1 / log(2)) + TO_INTEGER
    whole = shifted - TO_INTEGER
    r = (x - whole * LN2_HIGH) - whole * LN2_LOW
    power = _horner(r, EXP) * (r * r) + r + 1.0
    n = shifted.bits() - _bits(TO_INTEGER)
    half = n >> 1
    return power * _power_of_two(half) * _power_of_two(n - half)


def sigmoid(x: Value) -> Value:
    """1 / (1 + e**-x)."""
    return 1.0 / (exp(0.0 - x) + 1.0)


def tanh(x: Value) -> Value:
    return _odd_quotient(x, TANH_END, TANH_P, TANH_Q)


def erf(x: Value) -> Value:
    return _odd_quotient(x, ERF_END, ERF_P, ERF_Q)


def logarithm(x: Value) -> Value:
    """log x = e log 2 + log(1 + f) for x = 2**e (1 + f)."""
    small = x < SMALLEST_NORMAL
    bits = small.select(x * 2.0**MANTISSA_BITS, x).bits()
    exponent = (bits - ROOT_HALF_BITS) >> MANTISSA_BITS
    f = (bits - (exponent << MANTISSA_BITS)).from_bits() - 1.0
    e = exponent.to_float()
    e = small.select(e - float(MANTISSA_BITS), e)
    square = f * f
    tail = _horner(f, LOG) * (square * f) + e * LN2_LOW
    result = (tail - square * 0.5) + f + e * LN2_HIGH
    not_positive = (x < 0.0).select(NAN, x - INFINITY)  # -infinity for 0
    return (x < INFINITY).select((x > 0.0).select(result, not_positive), x)


FUNCTIONS: Mapping[str, Callable[[Value], Value]] = {
    "exp": exp,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "erf": erf,
    "log": logarithm,
}


def _odd_quotient(x: Value, end: float, p: Sequence[float], q: Sequence[float]) -> Value:
    """x p(x^2) / q(x^2) for x in (-end, end), nowhere beyond 1; elsewhere -1 and 1."""
    x = _clipped(x, -end, end)
    square = x * x
    quotient = x * _horner(square, p) / _horner(square, q)
    low = ((x >= end) | (quotient > 1.0)).select(1.0, quotient)
    return ((x <= -end) | (quotient < -1.0)).select(-1.0, low)


def _clipped(x: Value, low: float, high: float) -> Value:
    """x in [low, high]; NaN stays."""
    x = (x > high).select(high, x)
    return (x < low).select(low, x)


def _horner(x: Value, coefficients: Sequence[float]) -> Value:
    *lower, second, first = coefficients
    result = x * first + second
    for coefficient in reversed(lower):
        result = result * x + coefficient
    return result


def _bits(number: float) -> int:
    (bits,) = unpack("<i", pack("<f", number))
    return int(bits)


def _power_of_two(n: Value) -> Value:
    """2.0**n for n in [-126, 127]."""
    return ((n + BIAS) << MANTISSA_BITS).from_bits()
