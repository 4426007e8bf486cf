"""The element indices that the loop nest of a GEMM or ALU instruction runs through."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


def offsets(extents: tuple[int, int], factors: tuple[int, int]) -> Indices:
    """(out * in,): what the two loops add to an index, inner loop fastest."""
    outer = np.arange(extents[0], dtype=np.int64) * factors[0]
    inner = np.arange(extents[1], dtype=np.int64) * factors[1]
    return (outer[:, None] + inner).reshape(-1)


def indices(base: Indices, extents: tuple[int, int], factors: tuple[int, int]) -> Indices:
    """(out * in, micro-ops): the running order, row by row, is that of the hardware."""
    return offsets(extents, factors)[:, None] + base
