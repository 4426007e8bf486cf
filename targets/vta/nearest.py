"""The acceptable point nearest to a start, in a grid of whole numbers."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

Point = tuple[int, ...]


def nearest(
    start: Point, steps: Sequence[Point], accept: Callable[[Point], bool], farthest: int
) -> Point | None:
    """The accepted point with the least sum of changes, of equals the smaller; None beyond.

    steps: the moves from one point to the next. farthest: the largest sum that is searched.
    """
    queue, seen = [(0, sum(start), start)], {start}
    while queue:
        away, _, point = heapq.heappop(queue)
        if accept(point):
            return point
        for step in steps:
            moved = tuple(p + s for p, s in zip(point, step, strict=True))
            distance = sum(abs(m - p) for m, p in zip(moved, start, strict=True))
            if moved not in seen and away < distance <= farthest:
                seen.add(moved)
                heapq.heappush(queue, (distance, sum(moved), moved))
    return None


def unit_steps(size: int, directions: Sequence[int]) -> list[Point]:
    """Moves of one coordinate by each of the directions."""
    return [
        tuple(direction if other == axis else 0 for other in range(size))
        for axis in range(size)
        for direction in directions
    ]
