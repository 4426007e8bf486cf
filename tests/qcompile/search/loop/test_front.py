"""Fronts and best points against their definitions."""

from hypothesis import given
from hypothesis import strategies as st

from qcompile.quantizer import Widths
from qcompile.search.loop.front import accuracy_of, best, front, serving_all, time_of
from qcompile.search.loop.points import OnDevice, Point

BITS = {"layer": Widths(4, 4)}


def point(name, seconds, accuracy, spread=0.0, device="host", weight_bytes=100):
    found = OnDevice("measured", measured_s=seconds, accuracy=accuracy, spread=spread)
    return Point(name, "chosen", BITS, weight_bytes, 1, on={device: found})


POINTS = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6)), min_size=1, max_size=12).map(
    lambda pairs: [point(str(k), t / 4, a / 8) for k, (t, a) in enumerate(pairs)]
)


def beats(one, other):
    """Whether `one` is as good in both, and better in one."""
    times = time_of(one, "host"), time_of(other, "host")
    accuracies = accuracy_of(one, "host"), accuracy_of(other, "host")
    return (
        times[0] <= times[1]
        and accuracies[0] >= accuracies[1]
        and (times[0] < times[1] or accuracies[0] > accuracies[1])
    )


@given(POINTS)
def test_nothing_beats_a_point_of_the_front_and_something_every_other(points):
    found = front(points, "host")
    assert found
    for each in found:
        assert not any(beats(other, each) for other in points)
    for each in points:
        alike = [(time_of(p, "host"), accuracy_of(p, "host")) for p in found]
        here = (time_of(each, "host"), accuracy_of(each, "host"))
        assert here in alike or any(beats(other, each) for other in found)


def test_points_without_a_time_or_an_accuracy_are_no_front():
    failed = Point("x", "chosen", BITS, 1, 1, on={"host": OnDevice("failed: no such kernel")})
    assert front([failed, Point("y", "chosen", BITS, 1, 1)], "host") == []


def test_eight_bits_win_where_nothing_is_faster():
    points = [point("w8a8", 1.0, 0.80), point("w2a2", 0.995, 0.81), point("w4a4", 1.2, 0.9)]
    assert best(points, "host", least_accuracy=0.7).name == "w8a8"


def test_scatter_makes_times_alike():
    points = [point("w8a8", 1.0, 0.8, spread=0.05), point("w2a2", 0.93, 0.8)]
    assert best(points, "host", least_accuracy=0.7).name == "w8a8"
    points = [point("w8a8", 1.0, 0.8, spread=0.005), point("w2a2", 0.93, 0.8)]
    assert best(points, "host", least_accuracy=0.7).name == "w2a2"


def test_limits_hold():
    points = [point("a", 1.0, 0.9, weight_bytes=10), point("b", 0.5, 0.8, weight_bytes=30)]
    assert best(points, "host", least_accuracy=0.85).name == "a"
    assert best(points, "host", least_accuracy=0.0, budget_bytes=20).name == "a"
    assert best(points, "host", least_accuracy=0.0, budget_s=0.7).name == "b"
    assert best(points, "host", least_accuracy=0.95) is None


def test_the_assignment_for_all_is_least_bad_where_it_is_worst():
    def both(name, here, there):
        one = OnDevice("measured", measured_s=here, accuracy=0.9)
        other = OnDevice("measured", measured_s=there, accuracy=0.9)
        return Point(name, "chosen", BITS, 1, 1, on={"one": one, "other": other})

    points = [both("w8a8", 1, 1), both("fast here", 0.2, 1.5), both("fair", 0.7, 0.8)]
    assert serving_all(points, ["one", "other"], 0.8).name == "fair"
    assert serving_all(points, ["one", "other"], 0.95) is None
