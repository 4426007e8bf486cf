"""What became of a candidate: its time, or why it has none."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Kind = Literal[
    "build", "build timeout", "link", "crash", "timeout", "wrong result", "reference", "device"
]

# Samples of a quiet machine are within this of each other; clocks and caches are no better.
RESOLUTION = 0.01
DEVIATIONS = 3.0
NORMAL = 1.4826  # standard deviations of normal noise in its median absolute deviation


@dataclass(frozen=True)
class Failure:
    """A candidate without a time.

    build: TVM or the process that it ran in failed; build timeout: it took too long; link: the
    linker found its code wanting; crash: a signal ended its program; timeout: it did not end;
    wrong result: it computes something else than the untuned kernel; reference: the untuned kernel
    itself failed, so that there is nothing to compare with; device: no device was left to run it,
    or the one that there was could not.
    """

    kind: Kind
    message: str


@dataclass(frozen=True)
class Timing:
    """Seconds for one call: the samples that count, in the order in which they were taken.

    Other programs only ever add time, so the faster half of the samples tells what is usual on the
    quiet machine: `seconds_each`, the estimate that counts, is the median of that half, `spread`
    the relative distance between its ends. Samples above it by three of its standard deviations
    (estimated from its median absolute deviation) and by more than 1 % were disturbed: they are
    left out, `dropped` of them. On a model there is one sample, and no spread.
    """

    seconds: tuple[float, ...]
    dropped: int
    spread: float

    @property
    def seconds_each(self) -> float:
        return float(np.median(faster_half(self.seconds, len(self.seconds) + self.dropped)))


Outcome = Timing | Failure


def faster_half(samples: Sequence[float], taken: int) -> list[float]:
    """The fastest of the samples, half as many as were `taken`."""
    return sorted(samples)[: (taken + 1) // 2]


def timing(samples: Sequence[float]) -> Timing:
    """The samples without those that were disturbed."""
    half = np.array(faster_half(samples, len(samples)))
    middle = float(np.median(half))
    deviation = NORMAL * float(np.median(np.abs(half - middle)))
    limit = max(float(half[-1]), middle + max(DEVIATIONS * deviation, RESOLUTION * middle))
    kept = tuple(sample for sample in samples if sample <= limit)
    return Timing(kept, len(samples) - len(kept), float((half[-1] - half[0]) / half[0]))
