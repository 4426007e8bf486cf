"""The values that a few bits can hold."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Grid:
    """Codes of `bits` bits. Signed: -2^(b-1) ... 2^(b-1) - 1; of one bit: -1 and +1."""

    bits: int
    signed: bool

    @property
    def bipolar(self) -> bool:
        return self.signed and self.bits == 1

    @property
    def low(self) -> int:
        if self.bipolar:
            return -1
        return -(2 ** (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        if self.bipolar:
            return 1
        return 2 ** (self.bits - 1) - 1 if self.signed else 2**self.bits - 1

    def codes(self, steps: Array) -> Array:
        """The nearest codes of values in steps, as floats: half to even, out of range clipped."""
        if self.bipolar:
            return np.where(steps >= 0, steps.dtype.type(1), steps.dtype.type(-1))
        return np.rint(np.clip(steps, self.low, self.high))


@dataclass(frozen=True)
class Quantizer:
    """A grid with its step: one float32 of shape (), or one for each output channel."""

    grid: Grid
    scale: Array

    def __call__(self, values: Array) -> Array:
        """`values` rounded to the grid, in float32 as executors compute it."""
        return self.grid.codes(values / self.scale) * self.scale
