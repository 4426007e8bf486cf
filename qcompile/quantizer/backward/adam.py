"""Descent along gradients, each parameter at its own rate."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from qcompile.quantizer.grid import Array

MEAN_DECAY, SQUARE_DECAY = 0.9, 0.999
SMALLEST = 1e-10  # of a gradient's size that is divided by
Key = TypeVar("Key")


@dataclass
class Adam(Generic[Key]):
    """Changes `values` in place (Kingma & Ba 2015, algorithm 1). rates: the size of a change."""

    values: dict[Key, Array]
    rates: Mapping[Key, float]
    steps: int = 0
    _means: dict[Key, Array] = field(default_factory=dict)
    _squares: dict[Key, Array] = field(default_factory=dict)

    def step(self, gradients: Mapping[Key, Array], share: float) -> None:
        """One change; `share` of the rates."""
        self.steps += 1
        mean_of, square_of = (1 - d**self.steps for d in (MEAN_DECAY, SQUARE_DECAY))
        for key, gradient in gradients.items():
            mean = self._moved(self._means, key, gradient, MEAN_DECAY)
            square = self._moved(self._squares, key, np.square(gradient), SQUARE_DECAY)
            change = mean / mean_of / (np.sqrt(square / square_of) + SMALLEST)
            rate = np.float32(share * self.rates[key])
            self.values[key] = (self.values[key] - rate * change).astype("float32")

    def _moved(self, kept: dict[Key, Array], key: Key, now: Array, decay: float) -> Array:
        kept[key] = decay * kept.get(key, np.zeros_like(now)) + (1 - decay) * now
        return kept[key]
