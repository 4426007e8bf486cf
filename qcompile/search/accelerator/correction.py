"""Times of networks from sums of their layers' cycles, corrected by simulated ones.

Layers in a program overlap, and take their decisions beside each other: the whole takes less than
its layers alone, on one design like on another.
"""

from collections import defaultdict
from statistics import median


class Correction:
    """A factor for each design: its own median, before it has one that of all."""

    def __init__(self, clock_hz: float) -> None:
        self._clock_hz = clock_hz
        self._ratios: dict[int, list[float]] = defaultdict(list)

    def seconds(self, design: int, cycles: float) -> float:
        """The predicted time of so many estimated cycles."""
        every = [ratio for own in self._ratios.values() for ratio in own]
        own = self._ratios.get(design)
        return cycles / self._clock_hz * (median(own) if own else median(every or [1.0]))

    def learn(self, design: int, cycles: float, seconds: float) -> None:
        """That these estimated cycles took so long in truth."""
        self._ratios[design].append(seconds * self._clock_hz / cycles)
