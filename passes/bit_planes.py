"""Integers as planes of bits, and sums of their products as weighted counts of bits.

    x = offset + sum_i a_i 2^i u_i          data: u_i bits, offset binary with a step a
    w = sum_j c_j v_j                       weights, "and": v_j bits, two's complement
    w = sum_j c_j (2 v_j - 1)               weights, "xor": planes of -1 and 1

    sum x w = sum_ij a 2^i c_j count(u_i & v_j)                        + offset * sum w     "and"
            = sum_ij a 2^i c_j (count(v_j) - count(u_i ^ v_j))         + offset * sum w     "xor"

No count depends on the data alone: what is left beside the counts of pairs is known when compiling
and joins the bias. The xor form is the one for planes of signs: bits u times signs 2v - 1 sum to
count(v) - count(u ^ v).
"""

from dataclasses import dataclass
from functools import reduce
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class DataPlanes:
    """Data `low + step * u - zero` with u of `bits` bits; the codes are `low + step * u`."""

    bits: int
    low: int
    step: int
    zero: int

    @property
    def offset(self) -> int:
        """The value whose bits are all 0."""
        return self.low - self.zero

    @property
    def coefficients(self) -> tuple[int, ...]:
        return tuple(self.step << i for i in range(self.bits))

    @property
    def padding(self) -> int | None:
        """The u whose value is 0, or None: values outside the image then have no bits."""
        u, rest = divmod(-self.offset, self.step)
        return u if rest == 0 and 0 <= u < 2**self.bits else None


@dataclass(frozen=True)
class WeightPlanes:
    """Constant weights w: (O, ...) as planes: (planes, O, ...) of 0 and 1."""

    operation: str  # "and" or "xor"
    coefficients: tuple[int, ...]
    planes: Array

    @property
    def bits(self) -> int:
        return len(self.coefficients)


def weight_planes(w: Array) -> WeightPlanes:
    """The fewest planes of integer weights; common factors go into the coefficients."""
    operation, coefficients = _form(w)
    bits, unit = len(coefficients), abs(coefficients[0])
    w = w.astype("int64") // unit
    codes = (w + 2**bits - 1) // 2 if operation == "xor" else w % 2**bits
    return WeightPlanes(operation, coefficients, _planes(codes, bits))


def plane_count(w: Array) -> int:
    """How many planes `weight_planes` makes."""
    return len(_form(w)[1])


def _form(w: Array) -> tuple[str, tuple[int, ...]]:
    """The operation and the coefficients of the planes: they follow from the values that occur."""
    values = [int(value) for value in np.unique(w)]
    unit = reduce(gcd, values, 0) or 1
    low, high = min(values, default=0) // unit, max(values, default=0) // unit
    if values and all(value // unit % 2 for value in values):
        bits = max(high, -low).bit_length()
        return "xor", tuple(unit << j for j in range(bits))
    if low >= 0:
        return "and", tuple(unit << j for j in range(max(high.bit_length(), 1)))
    bits = max((-low - 1).bit_length(), high.bit_length()) + 1
    return "and", (*(unit << j for j in range(bits - 1)), -unit << (bits - 1))


def _planes(codes: Array, bits: int) -> Array:
    return np.stack([(codes >> j) & 1 for j in range(bits)]).astype("uint8")


def pair_coefficients(data: DataPlanes, weights: WeightPlanes) -> tuple[tuple[int, ...], ...]:
    """What count(u_i op v_j) is multiplied by: [i][j]."""
    sign = -1 if weights.operation == "xor" else 1
    return tuple(tuple(sign * a * c for c in weights.coefficients) for a in data.coefficients)


def constant_sums(data: DataPlanes, weights: WeightPlanes) -> Array:
    """What the planes of weights add to the sums beside the counts of pairs: (O, ...) int64.

    It is summed over whatever positions the counts are; the offset's part only over positions
    inside the image.
    """
    if weights.operation == "and":
        return np.zeros(weights.planes.shape[1:], "int64")
    all_bits = sum(data.coefficients)
    return all_bits * np.tensordot(weights.coefficients, weights.planes.astype("int64"), axes=1)


@dataclass(frozen=True)
class FactorPlanes:
    """How two matrices of data are multiplied on bits.

        sum a b = sum_ij coefficients[i][j] * count(u_i op v_j)
            + sum_i left[i] * count(u_i) + sum_j right[j] * count(v_j) + K * constant

    left and right are empty where they are not needed.
    """

    operation: str
    coefficients: tuple[tuple[int, ...], ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    constant: int


def factor_planes(a: DataPlanes, b: DataPlanes) -> FactorPlanes:
    """The planes of a product of a = o_a + s_a u and b = o_b + s_b v.

    Data that is symmetric, planes of -1 and 1 times powers of two, differs in as many bits as it
    agrees less: a product of two such has no terms of one factor alone.
    """
    pairs = [[p * q for q in b.coefficients] for p in a.coefficients]
    constant = a.offset * b.offset
    if _symmetric(a) and _symmetric(b):
        halves = tuple(tuple(-pair // 2 for pair in row) for row in pairs)
        return FactorPlanes("xor", halves, (), (), constant)
    left, right = (
        tuple(other.offset * c for c in own.coefficients) if other.offset else ()
        for own, other in ((a, b), (b, a))
    )
    return FactorPlanes("and", tuple(map(tuple, pairs)), left, right, constant)


def _symmetric(data: DataPlanes) -> bool:
    """Whether values are sums of -1 and 1 times halves of the coefficients."""
    return 2 * data.offset == -sum(data.coefficients)
