"""Candidates of one kernel that are measured together."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qcompile.tuning.worker_process import Built

MOST_BYTES = 2**28  # of operands on a device at a time; boards have little memory


@dataclass(frozen=True)
class Rounds:
    """How candidates are timed: by turns, in bursts of about so many seconds.

    At least `least` rounds, and more until the faster half of the samples of a candidate are within
    `spread`, or all together have taken `budget_s` for each. Candidates that are twice as slow
    as the fastest have no more rounds than two. A burst, and the first run, may take `limit_s`.

    With these numbers the times of 32 equal candidates of 46 to 510 microseconds were within 1 %
    of each other on a virtual machine that was busy otherwise, for 15 to 30 ms of each.
    """

    burst_s: float = 3e-4
    least: int = 16
    spread: float = 0.02
    budget_s: float = 0.1
    limit_s: int = 10


@dataclass(frozen=True, eq=False)
class Candidate:
    """A kernel and the values of its parameters; those that are left are its outputs."""

    built: Built
    operands: tuple[NDArray[np.generic], ...]


@dataclass(frozen=True, eq=False)
class Batch:
    """Candidates and the untuned kernel that they must agree with.

    tolerance: how far outputs of float32 may be apart, as a part of the largest of the reference;
    0: all outputs are equal, bit by bit. rounds: None for those of the device.
    """

    reference: Candidate
    candidates: tuple[Candidate, ...]
    tolerance: float = 0.0
    rounds: Rounds | None = None

    @property
    def all(self) -> tuple[Candidate, ...]:
        """The reference is number 0."""
        return self.reference, *self.candidates

    def parts(self, most_bytes: int = MOST_BYTES) -> Iterator[list[int]]:
        """The numbers of the candidates, the reference apart, that fit together into memory."""
        part: list[int] = []
        arrays: dict[int, int] = {}  # sizes; candidates of one layout have their arrays in common
        for number, candidate in enumerate(self.candidates, start=1):
            own = {id(array): array.nbytes for array in candidate.operands}
            if part and sum((arrays | own).values()) > most_bytes:
                yield part
                part, arrays = [], {}
            part.append(number)
            arrays |= own
        yield part
