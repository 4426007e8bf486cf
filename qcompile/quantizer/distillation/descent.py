"""Adam (Kingma and Ba 2015, algorithm 1)."""

from collections.abc import Sequence

import numpy as np

from qcompile.quantizer.grid import Array

FIRST, SECOND = 0.9, 0.999  # decays of the moments
SMALLEST = 1e-12  # a size of gradients that can be divided by


class Adam:
    """`values`, and the moments of their gradients."""

    def __init__(self, values: Sequence[Array]) -> None:
        self.values = list(values)
        self._means = [np.zeros_like(value) for value in values]
        self._squares = [np.zeros_like(value) for value in values]
        self._steps = 0

    def step(self, gradients: Sequence[Array], rate: float) -> None:
        """Move the values."""
        self._steps += 1
        for k, gradient in enumerate(gradients):
            self._means[k] = FIRST * self._means[k] + (1 - FIRST) * gradient
            self._squares[k] = SECOND * self._squares[k] + (1 - SECOND) * np.square(gradient)
            mean = self._means[k] / (1 - FIRST**self._steps)
            size = np.sqrt(self._squares[k] / (1 - SECOND**self._steps)) + SMALLEST
            self.values[k] = (self.values[k] - rate * mean / size).astype("float32")
