"""Candidates measured on several devices at the same time.

    with Measurer(["ssh://pi@one", "ssh://pi@two"], target) as measurer:
        outcomes = measurer.submit(Batch(reference, candidates)).result()

The outcomes are those of the reference and of the candidates, in order.
"""

import os
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from qcompile.devices import LOCAL, open_device
from qcompile.errors import DeviceLost, QCompileError
from qcompile.targets import Target
from qcompile.tuning.batch import MOST_BYTES, Batch, Rounds
from qcompile.tuning.batch_program import Program, make_program
from qcompile.tuning.outcomes import Failure, Outcome
from qcompile.tuning.stations import Open, Station, open_station
from qcompile.tuning.trial import expect_trial, trial_of

# Devices that may be lost with one batch: perhaps it is the batch that they do not stand.
MOST_LOST = 2


@dataclass(eq=False)
class _Work:
    """A batch under way: what is measured of it, what is left, and what its lost devices said."""

    batch: Batch
    parts: list[list[int]]
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    program: Program | None = None
    future: Future[list[Outcome]] = field(default_factory=Future)

    def take(self, found: Mapping[int, Outcome]) -> None:
        """Keep the outcomes of the first part."""
        part = self.parts.pop(0)
        self.program = None
        if isinstance(reference := found[0], Failure):
            told = f"the untuned kernel: {reference.kind}: {reference.message}"
            found = {0: reference, **dict.fromkeys(part, Failure("reference", told))}
        for number, outcome in found.items():
            self.outcomes.setdefault(number, outcome)

    def finish(self, failure: Failure | None = None) -> None:
        """Give the result; `failure` is that of all that has none."""
        for number in range(len(self.batch.all)):
            if failure is not None:
                self.outcomes.setdefault(number, failure)
        self.future.set_result([self.outcomes[n] for n in range(len(self.batch.all))])


class Measurer:
    """Devices that measure batches, each the next one as it becomes free.

    What is left of a batch whose device is lost is measured by another one. `lost` has the devices
    that are, and what was said.
    """

    def __init__(
        self,
        names: Sequence[str],
        target: Target,
        *,
        threads: int = 1,
        cores: Sequence[Sequence[int]] = (),
        rounds: Rounds | None = None,
        open_board: Open = open_device,
    ) -> None:
        """Opens the devices; a name that is there twice is two boards.

        `threads`: that candidates run on. `cores`: of each local device, in order; they may use all
        by default. Raises DeviceError, or ModelError, when one of the devices cannot be used.
        """
        assert names
        self.target = target
        self.threads = threads
        self.lost: list[str] = []
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._left = len(names)
        trial = trial_of(target.architecture, threads)

        def opened(name: str) -> Station:
            station = open_station(name, target, rounds or Rounds(), open_board)
            return expect_trial(station, trial)

        own_cores = iter(cores)
        ready: list[Future[None]] = [Future() for _ in names]
        self._threads = [
            threading.Thread(
                target=self._serve,
                args=(opened, name, next(own_cores, None) if name == LOCAL else None, future),
                daemon=True,
            )
            for name, future in zip(names, ready, strict=True)
        ]
        for thread in self._threads:
            thread.start()
        try:
            errors = [error for future in ready if (error := future.exception()) is not None]
            if errors:
                raise errors[0]
        except BaseException:
            self.close()
            raise

    def submit(self, batch: Batch) -> Future[list[Outcome]]:
        """The outcomes of the reference and of the candidates, in order, once they are measured.

        Raises DeviceLost when no device is left.
        """
        work = _Work(batch, list(batch.parts(MOST_BYTES)))
        work.future.set_running_or_notify_cancel()  # from now on only `close` cancels it
        with self._lock:
            if self._left == 0:
                raise DeviceLost(f"no device is left to measure on: {'; '.join(self.lost)}")
            self._queue.put(work)
        return work.future

    def close(self) -> None:
        """Close the devices after what they measure now; what still waits is cancelled."""
        waiting = self._waiting()
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        for work in [*waiting, *self._waiting()]:  # a lost device may have put one back
            work.future.set_exception(CancelledError())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _waiting(self) -> list[_Work]:
        """What no device has taken, which none will."""
        found: list[_Work] = []
        while True:
            try:
                work = self._queue.get_nowait()
            except queue.Empty:
                return found
            if work is not None:
                found.append(work)

    def _serve(
        self,
        opened: Callable[[str], Station],
        name: str,
        cores: Sequence[int] | None,
        ready: Future[None],
    ) -> None:
        """What the thread of one device does."""
        if cores is not None:
            os.sched_setaffinity(0, cores)  # of this thread, and of what it starts
        try:
            station = opened(name)
        except BaseException as error:
            ready.set_exception(error)
            return
        ready.set_result(None)
        try:
            while (work := self._queue.get()) is not None:
                try:
                    self._measure(station, work)
                except DeviceLost as error:
                    self._lose(station, work, error)
                    return
        finally:
            station.close()

    def _measure(self, station: Station, work: _Work) -> None:
        """Measure what is left of the batch. Raises DeviceLost."""
        try:
            while work.parts:
                part = work.parts[0]
                if work.program is None:
                    architecture = self.target.architecture
                    work.program = make_program(work.batch, part, architecture, self.threads)
                work.take(station.measure(work.program, work.batch, part))
            work.finish()
        except DeviceLost:
            raise
        except QCompileError as error:
            work.finish(Failure("device", str(error)))
        except BaseException as error:
            work.future.set_exception(error)

    def _lose(self, station: Station, work: _Work, error: DeviceLost) -> None:
        """Leave the batch to another device, as long as there is one."""
        work.lost.append(str(error))
        with self._lock:
            self._left -= 1
            self.lost.append(str(error))
            if self._left > 0 and len(work.lost) < MOST_LOST:
                self._queue.put(work)
                return
            stranded = [work, *(self._waiting() if self._left == 0 else [])]
        for each in stranded:
            each.finish(Failure("device", "; ".join(each.lost or self.lost)))
