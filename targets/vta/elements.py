"""Elements as they stand in DRAM: scalars packed from the lowest bit of the first byte up."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[Any]


def unpack(data: Bytes, width: int) -> Integers:
    """The signed scalars of elements. data: (count, bytes); returns (count, scalars)."""
    if width >= 8:
        return np.ascontiguousarray(data).view(f"<i{width // 8}")
    shifts = np.arange(0, 8, width, dtype=np.uint8)
    # The scalar's sign goes to the sign of the byte; the shift back extends it.
    raised = (data[..., None] >> shifts) << np.uint8(8 - width)
    return (raised.view(np.int8) >> np.int8(8 - width)).reshape(len(data), -1)


def pack(scalars: Integers, width: int) -> Bytes:
    """The bytes of elements: the low `width` bits of each scalar. scalars: (count, scalars)."""
    count = len(scalars)
    if width >= 8:
        narrowed = np.ascontiguousarray(scalars.astype(f"<i{width // 8}"))
        return narrowed.view(np.uint8).reshape(count, -1)
    shifts = np.arange(0, 8, width, dtype=np.uint8)
    low = scalars.astype(np.uint8) & np.uint8((1 << width) - 1)
    grouped = low.reshape(count, -1, 8 // width) << shifts
    return np.bitwise_or.reduce(grouped, axis=-1)
