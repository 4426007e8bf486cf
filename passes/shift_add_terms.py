"""Multipliers as sums of powers of two: a shift for each, one addition less, and no product.

    m          is about  2^(l - g) (1 + 2^-d_1 + 2^-d_2)
    a          = (x << l) + b
    m x + t    is about  (a + (a >> d_1) + (a >> d_2)) >> g
    b          = round((t 2^g + 2^(g-1) + k/2) / (1 + 2^-d_1 + ...)),  k the number of d

x: the sums of a channel, m its multiplier, above zero, t in steps of codes; d and g are of the
channel, l of the layer. No power can be subtracted, so that the best sum is wrong by 1/3 of m at
the most with no d, by 1/7 with one, by 1/15 with two; root of the mean square, over all m alike:
20 %, 6.1 %, 2.1 %. b holds the rounding to the nearest, and the mean of what the shifts by d drop.
l leaves GUARD bits below a code where the sums leave room: each d then drops 2^-GUARD of a code at
most. Layers have the fewest d that are as good as more.
"""

from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcompile.passes.integer_weights import INT32_MAX

Array = NDArray[Any]
MOST_TERMS = 2  # beside the first: each costs VTA four cycles or more per output
GUARD = 5
LARGEST_AMOUNT = 15  # of a shift by a vector on VTA
LARGEST_LIFT = 16  # of one instruction of VTA
LARGEST_SHIFT = 30
SPREAD = LARGEST_AMOUNT - 2  # of a layer's multipliers; sums may be of powers beside theirs
AS_GOOD = 2.0**-12  # of the error: codes of 8 bits do not show it
STILL = 0.5  # of a code: sums that reach no further are left out where no shift holds them


@dataclass(frozen=True, eq=False)
class ShiftAddTerms:
    """The integers of the formula. bias, shift: (O,); terms: (k, O), rising along k.

    still: (O,) channels without sums. error: of the multipliers relative to them, root of the mean
    square; largest_error: of one channel.
    """

    bias: Array
    lift: int
    shift: Array
    terms: Array
    still: Array
    error: float
    largest_error: float


def shift_add_terms(multiplier: Array, constant: Array, largest: Array) -> ShiftAddTerms | str:
    """The layer of multipliers >= 0 and constants t, (O,); a reason why there is none.

    largest: (O,) of |x|.
    """
    if not (np.isfinite(multiplier).all() and np.isfinite(constant).all()):
        return "its scales are not finite"
    reach = multiplier * largest
    still = reach == 0
    power = _powers(np.where(still, 1, multiplier))
    first = GUARD if still.all() else int(power[~still].min())
    last = min(first + SPREAD, LARGEST_SHIFT - 1)
    if (reach[power > last] >= STILL).any():
        return f"its scales are from 2^{-first} to 2^{-int(power.max())}"
    still |= power > last
    moved = np.where(still, 2.0**-first, multiplier)
    found = _fewest(moved, ~still)
    for lift in range(min(max(GUARD - first, 0), LARGEST_LIFT), max(-first, 0) - 1, -1):
        made = _with_lift(found, lift, constant, np.where(still, 0, largest))
        if made is not None:
            return ShiftAddTerms(*made, still, *_errors(found, moved, ~still))
    return "no shift holds its sums"


@dataclass(frozen=True)
class _Sum:
    """2^-power times `mantissa`, which is 1 + sum of 2^-terms; by channel."""

    power: Array
    terms: Array
    mantissa: Array


def _powers(multiplier: Array) -> Array:
    """p with 1 <= m 2^p < 2."""
    return 1 - np.frexp(multiplier)[1].astype("int64")


def _fewest(multiplier: Array, counted: Array) -> _Sum:
    """The nearest sums, of the fewest terms that are as good."""
    found = [_nearest(multiplier, count) for count in range(MOST_TERMS + 1)]
    errors = [_errors(each, multiplier, counted)[0] for each in found]
    return next(
        each for each, error in zip(found, errors, strict=True) if error <= min(errors) + AS_GOOD
    )


def _nearest(multiplier: Array, count: int) -> _Sum:
    """The sums of so many terms nearest to the multipliers."""
    every = combinations_with_replacement(range(LARGEST_AMOUNT + 1), count)
    amounts = np.array([*every], "int64")
    mantissas = 1 + (2.0**-amounts).sum(axis=1)
    power = _powers(multiplier)
    # A sum may be above the next power of two, and that below its own.
    both = np.concatenate([mantissas, 2 * mantissas, mantissas / 2])
    raised = np.repeat([0, -1, 1], len(amounts))
    best = np.abs(both - (multiplier * 2.0**power)[:, None]).argmin(axis=1)
    chosen = best % len(amounts)
    return _Sum(power + raised[best], amounts[chosen].T, mantissas[chosen])


def _errors(found: _Sum, multiplier: Array, counted: Array) -> tuple[float, float]:
    """Relative, of the channels that count: the root of the mean square, the largest."""
    relative = np.abs(found.mantissa * 2.0**-found.power / multiplier - 1)[counted]
    if relative.size == 0:
        return 0.0, 0.0
    return float(np.sqrt(np.square(relative).mean())), float(relative.max())


def _with_lift(
    found: _Sum, lift: int, constant: Array, largest: Array
) -> tuple[Array, int, Array, Array] | None:
    """bias, lift, shift and terms; None where sums do not fit an int32, or shifts their fields."""
    shift = found.power + lift
    if shift.min() < 0 or shift.max() - min(shift.min(), LARGEST_AMOUNT) > LARGEST_AMOUNT:
        return None
    if shift.max() > LARGEST_SHIFT:
        return None
    rounding = np.where(shift > 0, 2.0 ** (shift - 1), 0) + len(found.terms) / 2
    bias = np.rint((constant * 2.0**shift + rounding) / found.mantissa)
    # Each term is rounded by less than one.
    most = (largest * 2.0**lift + np.abs(bias)) * found.mantissa + len(found.terms)
    if most.max() > INT32_MAX:
        return None
    return bias.astype("int64"), lift, shift, found.terms
