"""Weights that carry the scale of their layer, so that a shift is all that is left of it.

    round(sum of w x m + t)       is about  (sum of w' x + t' + 2^(s-1)) >> s
    w' = round(w m 2^s)           t' = round(t 2^s)

w: (O, ..., C) numbers of one operand, m and t of one channel each, m of any sign. There may be
several operands, each with weights of its own. s is as large as `most`, the largest |w'|, sums in
an int32 and MAX_SHIFT let it be: one s in all, the smallest of the channels, or one s per channel
where that is much more precise (PAYS). Where some s makes all w' int8 numbers without rounding, as
in models whose scales are powers of two, they are that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcompile.errors import Unsupported
from qcompile.passes.integer_weights import INT32_MAX

Array = NDArray[Any]
MAX_SHIFT = 15  # 2^(s-1), which rounds, is an immediate of 16 signed bits
SHARE = INT32_MAX // 4  # of the sums: the constant and what rounds need room, too
INT8 = (-128, 127)
MAX_FACTOR = 127  # weights of 8 bits, which a sum of codes multiplies by
PAYS = 2.0  # one shift per channel costs a cycle per output: for this factor of squared errors


@dataclass(frozen=True)
class Operand:
    """Weights times their channels' scales, (O, ..., C) float64, of data with |x| <= largest.

    most: the largest |w'|.
    """

    scaled: Array
    largest: int
    most: int


@dataclass(frozen=True)
class ShiftedWeights:
    """Integers whose sums, shifted, are the codes.

    weights: int64, one array per operand; bias: (O,) int64; shift: (O,), all equal unless
    `per_channel`. error: of w' 2^-s relative to w m, root of the mean square; layer_error: the same
    with one shift.
    """

    weights: tuple[Array, ...]
    bias: Array
    shift: Array
    per_channel: bool
    error: float
    layer_error: float


def shifted_weights(operands: Sequence[Operand], constant: Array) -> ShiftedWeights | None:
    """The weights of all operands, and the constant (O,); None where no shift holds them."""
    shifts = np.minimum.reduce([_largest_shifts(operand, len(operands)) for operand in operands])
    shifts = np.minimum(shifts, _fitting(np.abs(constant), SHARE))
    if not np.isfinite(shifts).all() or shifts.min(initial=0) < 0:
        return None
    shifts = np.minimum(shifts, MAX_SHIFT).astype("int64")
    common = np.full_like(shifts, shifts.min(initial=MAX_SHIFT))
    layer, own = (_error(operands, s) for s in (common, shifts))
    per_channel = layer > own * PAYS**0.5
    chosen = shifts if per_channel else common
    return ShiftedWeights(
        weights=tuple(_rounded(operand.scaled, chosen) for operand in operands),
        bias=np.rint(constant * 2.0**chosen).astype("int64"),
        shift=chosen,
        per_channel=per_channel,
        error=own if per_channel else layer,
        layer_error=layer,
    )


def _along_first(values: Array, like: Array) -> Array:
    return values.reshape(-1, *[1] * (like.ndim - 1))


def _largest_shifts(operand: Operand, operands: int) -> Array:
    """The largest shift of each channel that the weights and their share of the sums allow."""
    flat = np.abs(operand.scaled).reshape(len(operand.scaled), -1)
    # Each w' is less than a step larger than w m 2^s.
    share = SHARE / operands / operand.largest - flat.shape[1]
    if share <= 0:
        return np.full(len(flat), -np.inf)
    weights = _fitting(flat.max(axis=1, initial=0), operand.most)
    exact = _exact(operand.scaled.reshape(flat.shape))
    return np.minimum(np.where(exact >= 0, exact, weights), _fitting(flat.sum(axis=1), share))


def _exact(scaled: Array) -> Array:
    """The largest shift that makes a channel's weights int8 numbers as they are; -1 for none."""
    found = np.full(len(scaled), -1)
    for shift in range(MAX_SHIFT + 1):
        raised = scaled * 2.0**shift
        whole = (raised == np.rint(raised)) & (raised >= INT8[0]) & (raised <= INT8[1])
        found[whole.all(axis=1)] = shift
    return np.where(scaled.any(axis=1), found, -1)


def _fitting(magnitude: Array, limit: float) -> Array:
    """The largest s with magnitude 2^s <= limit; -inf where there is none."""
    with np.errstate(divide="ignore"):
        shifts = np.where(magnitude == 0, MAX_SHIFT, np.floor(np.log2(limit / magnitude)))
    return np.where(np.isfinite(magnitude), shifts, -np.inf)


def _rounded(scaled: Array, shift: Array) -> Array:
    """Every weight up or down, the nearer way but where that makes sums of weights wrong.

    The errors of a filter's taps of one input channel, and then of the whole filter, add up to half
    a step at most: what all data has in common, its mean, is then kept.
    """
    exact = scaled * _along_first(2.0**shift, scaled)
    taps = np.moveaxis(exact.reshape(len(exact), -1, exact.shape[-1]), 1, 2)  # (O, C, KH KW)
    rounded = _sums_kept(taps, np.rint(taps))
    filters = taps.reshape(len(taps), -1), rounded.reshape(len(taps), -1)
    rounded = np.moveaxis(_sums_kept(*filters).reshape(taps.shape), 2, 1)
    return rounded.reshape(exact.shape).astype("int64")


def _sums_kept(exact: Array, rounded: Array) -> Array:
    """`rounded` with the fewest numbers moved by 1 that make its sums along the last axis nearest.

    Those move that are furthest from their exact numbers: each stays next to its own.
    """
    difference = exact - rounded
    excess = np.rint(difference.sum(axis=-1, keepdims=True))
    step = np.sign(excess)
    order = np.argsort(-difference * step, axis=-1, kind="stable")
    place = np.argsort(order, axis=-1, kind="stable")
    return rounded + step * (place < np.abs(excess))


def _error(operands: Sequence[Operand], shift: Array) -> float:
    """Of the weights of each channel, relative to them; the root of the channels' mean square."""
    squares = np.zeros((2, len(shift)))
    for operand in operands:
        scaled = operand.scaled
        difference = _rounded(scaled, shift) * _along_first(2.0**-shift, scaled) - scaled
        for k, array in enumerate((difference, scaled)):
            squares[k] += np.square(array).reshape(len(array), -1).sum(axis=1)
    ratio = np.divide(squares[0], squares[1], out=np.zeros(len(shift)), where=squares[1] > 0)
    return float(np.sqrt(ratio.mean())) if len(ratio) else 0.0


def shifted_factors(scales: Sequence[float]) -> tuple[tuple[int, ...], int, float]:
    """Integers d up to MAX_FACTOR and the shift s with d 2^-s nearest to `scales`; the error.

    Nearest is the least largest error relative to its scale, then the smallest shift.
    """

    def of(shift: int) -> tuple[float, tuple[int, ...]]:
        factors = tuple(round(scale * 2.0**shift) for scale in scales)
        errors = [abs(d * 2.0**-shift / m - 1) for d, m in zip(factors, scales, strict=True) if m]
        return max(errors, default=0.0), factors

    candidates = [(*of(shift), shift) for shift in range(MAX_SHIFT + 1)]
    fit = [c for c in candidates if max(map(abs, c[1])) <= MAX_FACTOR]
    if not fit:
        raise Unsupported(
            f"scales {', '.join(f'{scale:g}' for scale in scales)}: beyond {MAX_FACTOR}, which "
            "integer factors reach"
        )
    error, factors, shift = min(fit, key=lambda c: (c[0], c[2]))
    return factors, shift, error
