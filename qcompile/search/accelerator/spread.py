"""A few of many points, far from each other."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def spread(values: NDArray[np.float64], count: int, taken: Sequence[int] = ()) -> list[int]:
    """The places of at most `count` points more than those taken: ever the farthest from all.

    The least in each quantity come first. values: (points, quantities). Distances are of places in
    the quantities' orders and of the values' logarithms, both as shares of their ranges: neither
    outliers nor crowds take all.
    """
    logs = np.log(values - values.min(axis=0) + 0.01 * np.ptp(values, axis=0) + 1e-300)
    ranks = np.argsort(np.argsort(values, axis=0, kind="stable"), axis=0, kind="stable")
    scaled = np.concatenate([_shares(logs), _shares(ranks.astype("float64"))], axis=1)
    distance = np.full(len(values), np.inf)
    for place in taken:
        distance = np.minimum(distance, _distances(scaled, place))
    chosen: list[int] = []
    for place in dict.fromkeys(values.argmin(axis=0).tolist()):
        if distance[place] > 0 and len(chosen) < count:
            chosen.append(place)
            distance = np.minimum(distance, _distances(scaled, place))
    while len(chosen) < count and distance.max(initial=0) > 0:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, _distances(scaled, chosen[-1]))
    return chosen


def _shares(values: NDArray[np.float64]) -> NDArray[np.float64]:
    extent = np.ptp(values, axis=0)
    return np.asarray((values - values.min(axis=0)) / np.where(extent > 0, extent, 1))


def _distances(points: NDArray[np.float64], place: int) -> NDArray[np.float64]:
    return np.asarray(np.square(points - points[place]).sum(axis=1))
