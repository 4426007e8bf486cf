"""Numbers wider than the hardware, as signed digits: v = sum over k of 2^(width * k) * digit_k.

A digit of `width` bits is the low bits of a number read as signed: -2^(width-1)..2^(width-1)-1,
of one bit -1..0. Numbers above zero therefore have no digits of one bit, unless sums wrap: modulo
2^32, 1 is -(2^32 - 1), all of whose 32 digits are -1.
"""

from __future__ import annotations

import numpy as np

from qcompile.errors import NotRepresentable
from qcompile.targets.vta.layers import Integers


def digits(values: Integers, width: int, least: int = 1) -> Integers:
    """(count, *shape): the digits, the lowest first, at least so many. Raises NotRepresentable."""
    rest, found = np.asarray(values, np.int64), list[Integers]()
    if width == 1 and (rest > 0).any():
        raise NotRepresentable(
            f"{int(rest.max())} as an operand of 1 bit: values of such operands are -1 and 0, "
            "of more digits below 0, too; take a configuration of 2 bits or more"
        )
    half = 1 << (width - 1)
    if least == 1 and rest.size and -half <= rest.min() and rest.max() < half:
        return rest[None]
    while len(found) < least or rest.any():
        digit = (rest + half) % (2 * half) - half
        found.append(digit)
        rest = (rest - digit) >> width
    return np.stack(found)


def wrapping_digits(values: Integers, width: int, modulo: int) -> Integers:
    """The digits of numbers that are equal to the values modulo 2^modulo."""
    values = np.asarray(values, np.int64)
    if width == 1:
        values = np.where(values > 0, values - (1 << modulo), values)
    return digits(values, width)


def digit_count(low: int, high: int, width: int) -> int:
    """How many digits all numbers of a range need."""
    return len(digits(np.array([low, high]), width))
