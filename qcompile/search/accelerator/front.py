"""Which of many points no other is better than, in every quantity. Less is better."""

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]  # (points, quantities)
BLOCK = 256  # points that are compared at a time


def front(values: Values) -> NDArray[np.int64]:
    """The places of the points that no other dominates; of equal points the first.

    A point dominates another when it is nowhere worse and somewhere better.
    """
    order = np.lexsort(values.T[::-1])  # by the first quantity, then by the second, ...
    kept: list[int] = []
    for place in order:
        # What dominates a point, or equals it, comes before it in this order.
        if not np.any(np.all(values[kept] <= values[place], axis=1)):
            kept.append(int(place))
    return np.array(sorted(kept), np.int64)


def front_of_two(first: Values, second: Values) -> NDArray[np.int64]:
    """The same of two quantities, by the rising first."""
    order = np.lexsort((second, first))
    least = np.minimum.accumulate(np.concatenate([[np.inf], second[order]]))[:-1]
    kept: NDArray[np.int64] = order[second[order] < least]
    return kept


def covered(values: Values, known: Values) -> NDArray[np.bool_]:
    """(points,): whether some known point is nowhere worse."""
    found = np.zeros(len(values), bool)
    for begin in range(0, len(values) if len(known) else 0, BLOCK):
        block = values[begin : begin + BLOCK, None]
        found[begin : begin + BLOCK] = np.any(np.all(known[None] <= block, axis=2), axis=1)
    return found
