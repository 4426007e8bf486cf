"""Python called by C++, which makes other errors of those that it raises, and loses interrupts."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager


class Stopped(Exception):
    """Raised by the next step after an interrupt."""


class Course:
    """Work in a thread of its own, which no interrupt reaches, made of steps that can be stopped.

        course = Course()
        course.run(work)            # which has `with course.step():` in what it is called back for

    `run` raises what the first step raised that failed.
    """

    def __init__(self) -> None:
        self._stopping = False
        self._raised: list[BaseException] = []

    @contextmanager
    def step(self) -> Iterator[None]:
        """Keeps what is raised inside. Raises Stopped when it is not to begin any more."""
        try:
            if self._stopping:
                raise Stopped
            yield
        except BaseException as error:
            self._raised.append(error)
            raise

    def run(self, work: Callable[[], object]) -> None:
        """Do the work. An interrupt is raised once the step that is under way has ended."""
        done: Future[None] = Future()
        thread = threading.Thread(target=self._work, args=(work, done), daemon=True)
        try:
            thread.start()
            done.result()
        except BaseException:
            if not done.done():
                self._stopping = True
                wait([done])
            raise

    def _work(self, work: Callable[[], object], done: "Future[None]") -> None:
        try:
            work()
        except BaseException as error:
            done.set_exception(self._raised[0] if self._raised else error)
        else:
            done.set_result(None)
