"""Work that C++ calls back from: its first error, and interrupts."""

import _thread
import threading
import time

import pytest

from qcompile.tuning.course import Course


def as_another(course, work):
    """A step of which C++ raises an error of its own."""
    try:
        with course.step():
            work()
    except BaseException:
        raise RuntimeError("C++") from None


def fail():
    raise LookupError("the first")


def test_raises_what_the_first_step_raised():
    course = Course()
    with pytest.raises(LookupError, match="the first"):
        course.run(lambda: as_another(course, fail))


def test_raises_errors_from_between_the_steps():
    with pytest.raises(LookupError, match="the first"):
        Course().run(fail)


def test_an_interrupt_waits_for_the_step_under_way_and_begins_no_other():
    course, begun, ended = Course(), [], []

    def step():
        begun.append(threading.current_thread())
        if len(begun) == 1:
            _thread.interrupt_main()
        time.sleep(0.2)
        ended.append(True)

    def work():
        while True:
            as_another(course, step)

    with pytest.raises(KeyboardInterrupt):
        course.run(work)
    assert len(begun) == len(ended) <= 2
    assert not begun[0].is_alive() or begun[0].join(1) is None
    count = len(begun)
    time.sleep(0.3)
    assert len(begun) == count
