"""Which points are worth having on a device, and which one to take."""

from collections.abc import Iterable, Sequence

from qcompile.search.loop.points import OnDevice, Point

ALIKE = 0.01  # times nearer than this, or than twice their spread, are the same
INT8 = "w8a8"


def front(points: Iterable[Point], device: str) -> list[Point]:
    """The points that no other one beats, fastest first: none is as fast and as accurate as they,
    and better in one of both."""
    measured = [point for point in points if point.measured(device)]
    ordered = sorted(measured, key=lambda p: (time_of(p, device), -accuracy_of(p, device)))
    kept: list[Point] = []
    for point in ordered:
        if not kept or accuracy_of(point, device) > accuracy_of(kept[-1], device):
            kept.append(point)
    return kept


def best(
    points: Iterable[Point],
    device: str,
    *,
    least_accuracy: float,
    budget_s: float | None = None,
    budget_bytes: int | None = None,
) -> Point | None:
    """The fastest point that keeps all limits, uniform 8 bits where nothing is faster.

    Of points that take the same time the most accurate; None when no point keeps the limits.
    """
    allowed = [
        point
        for point in points
        if point.measured(device)
        and accuracy_of(point, device) >= least_accuracy
        and (budget_s is None or time_of(point, device) <= budget_s)
        and (budget_bytes is None or point.weight_bytes <= budget_bytes)
    ]
    if not allowed:
        return None
    fastest = min(allowed, key=lambda point: time_of(point, device))
    equals = [point for point in allowed if alike(point, fastest, device)]
    return max(equals, key=lambda point: (point.name == INT8, accuracy_of(point, device)))


def most_accurate(points: Iterable[Point], device: str) -> Point:
    """Of the quantized points that were measured there."""
    measured = [point for point in points if point.bits and point.measured(device)]
    return max(measured, key=lambda point: accuracy_of(point, device))


def alike(one: Point, other: Point, device: str) -> bool:
    """Whether their times differ by no more than they scatter."""
    times = time_of(one, device), time_of(other, device)
    scatter = 2 * max(spread_of(one, device), spread_of(other, device))
    return abs(times[0] - times[1]) <= max(ALIKE, scatter) * min(times)


def serving_all(
    points: Sequence[Point], devices: Sequence[str], least_accuracy: float
) -> Point | None:
    """The accurate enough assignment whose time, as a share of uniform 8 bits', is least on the
    device where it is largest; None when no assignment was measured everywhere."""
    everywhere = [p for p in points if p.bits and all(p.measured(name) for name in devices)]
    reference = next((p for p in everywhere if p.name == INT8), None)
    allowed = [
        p for p in everywhere if all(accuracy_of(p, name) >= least_accuracy for name in devices)
    ]
    if reference is None or not allowed:
        return None

    def worst(point: Point) -> float:
        return max(time_of(point, name) / time_of(reference, name) for name in devices)

    least = min(worst(point) for point in allowed)
    equals = [point for point in allowed if worst(point) <= least * (1 + ALIKE)]
    return max(equals, key=lambda p: (p.name == INT8, min(accuracy_of(p, n) for n in devices)))


def time_of(point: Point, device: str) -> float:
    return _of(point, device).measured_s or 0.0


def accuracy_of(point: Point, device: str) -> float:
    return _of(point, device).accuracy or 0.0


def spread_of(point: Point, device: str) -> float:
    return _of(point, device).spread or 0.0


def _of(point: Point, device: str) -> OnDevice:
    return point.on[device]
