"""Which point of a co-search to take."""

from collections.abc import Sequence

from qcompile.search.accelerator.points import Point
from qcompile.search.accelerator.request import Limits

Choice = tuple[int | None, str]  # a point's place, None where none will do, and what is to be said


def best_of(points: Sequence[Point], limits: Limits) -> Choice:
    """The fastest that is right often enough and within the budget. points: the baseline first."""
    least = _right(points[0]) - limits.max_drop
    fast = [k for k, point in enumerate(points) if _in_time(point, limits)]
    kept = [k for k in fast if points[k].accuracy is not None and _right(points[k]) >= least]
    if kept:
        return min(kept, key=lambda k: (points[k].seconds, points[k].area.share)), ""
    best = max((_right(points[k]) for k in fast), default=None)
    told = "none is so fast" if best is None else f"the best is {best:.2%}"
    return None, f"no point within the budget is right for {least:.2%} or more; {told}"


def best_unlabelled(points: Sequence[Point], limits: Limits) -> Choice:
    """The least sensitive within the budget; without one, of those not slower than the baseline."""
    limit = points[0].seconds if limits.budget_s is None else limits.budget_s
    kept = [k for k, point in enumerate(points) if point.seconds <= limit]
    if not kept:
        fastest = min(point.seconds for point in points)
        return None, f"no point within the budget; the fastest takes {1e3 * fastest:.4g} ms"
    return min(kept, key=lambda k: (points[k].sensitivity, points[k].seconds)), ""


def _right(point: Point) -> float:
    return 0.0 if point.accuracy is None else point.accuracy


def _in_time(point: Point, limits: Limits) -> bool:
    return limits.budget_s is None or point.seconds <= limits.budget_s
