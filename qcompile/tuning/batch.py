"""Candidates of one kernel that are measured together."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qcompile.tuning.worker_process import Built

MOST_BYTES = 2**28  # of operands on a device at a time; boards have little memory


@dataclass(frozen=True, eq=False)
class Candidate:
    """A kernel and the values of its parameters; those that are left are its outputs."""

    built: Built
    operands: tuple[NDArray[np.generic], ...]


@dataclass(frozen=True, eq=False)
class Batch:
    """Candidates and the untuned kernel that they must agree with.

    tolerance: how far outputs of float32 may be apart, as a part of the largest of the reference;
    0: all outputs are equal, bit by bit.
    """

    reference: Candidate
    candidates: tuple[Candidate, ...]
    tolerance: float = 0.0

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
