"""Operands of kernels on bit planes, and their products by NumPy."""

from dataclasses import dataclass

import numpy as np

from qcompile.schedules.bit_product import Planes


@dataclass(frozen=True)
class Width:
    """Values `low + step * u` of data and `value` of weights, and how their planes multiply.

    Weights: `and` takes two's complement of `weight_bits`, `xor` sums of ±1 times powers of two.
    """

    operation: str
    data_bits: int
    weight_bits: int

    @property
    def planes(self) -> Planes:
        def coefficient(i: int, j: int) -> int:
            if self.operation == "xor":
                return -2 * 2 ** (i + j)
            return -(2 ** (i + j)) if j == self.weight_bits - 1 else 2 ** (i + j)

        return Planes(
            self.operation,
            tuple(
                tuple(coefficient(i, j) for j in range(self.weight_bits))
                for i in range(self.data_bits)
            ),
        )

    def data(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Codes u."""
        return rng.integers(0, 2**self.data_bits, shape, dtype="uint8")

    def weights(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Values of weights: two's complement, or odd numbers."""
        largest = 2 ** (self.weight_bits - 1)
        if self.operation == "and":
            return rng.integers(-largest, largest, shape)
        return 2 * rng.integers(0, 2 * largest, shape) - (2 * largest - 1)

    def data_planes(self, codes: np.ndarray) -> list[np.ndarray]:
        return [(codes >> i) & 1 for i in range(self.data_bits)]

    def weight_planes(self, values: np.ndarray) -> np.ndarray:
        """Bits (planes, ...)."""
        codes = values if self.operation == "and" else (values + 2**self.weight_bits - 1) // 2
        return np.stack([(codes >> j) & 1 for j in range(self.weight_bits)]).astype("uint8")


# Data and weights of 1 to 4 bits: W1A1 in both forms, W1A2, W2A1, W2A2, W1A4, W3A2.
WIDTHS = [
    *(Width("xor", 1, 1), Width("and", 1, 1), Width("xor", 2, 1), Width("and", 1, 2)),
    *(Width("and", 2, 2), Width("xor", 4, 1), Width("xor", 2, 2), Width("and", 2, 3)),
]


def weighted_sum(width: Width, codes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """What the planes of codes (M, K) and weights (N, K) sum up to, in int64, without a bias.

    and: sum of u * w. xor: a plane that differs counts -2, so it is the sum of (2 u - (2**n - 1))
    * w less its value where no plane differs, K (2**n - 1) (2**m - 1).
    """
    if width.operation == "and":
        return codes.astype("int64") @ values.T.astype("int64")
    most = 2**width.data_bits - 1
    bipolar = 2 * codes.astype("int64") - most
    return bipolar @ values.T.astype("int64") - codes.shape[1] * most * (2**width.weight_bits - 1)


def packed_words(planes: list[np.ndarray]) -> np.ndarray:
    """Planes (..., C) as words (..., planes, ceil(C / 32)), by definition."""
    words = -(-planes[0].shape[-1] // 32)
    packed = np.zeros((*planes[0].shape[:-1], len(planes), words), "uint32")
    for i, plane in enumerate(planes):
        for c in range(plane.shape[-1]):
            packed[..., i, c // 32] |= plane[..., c].astype("uint32") << np.uint32(c % 32)
    return packed
