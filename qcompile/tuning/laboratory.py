"""Candidates of a network's tasks: built here, measured on devices, written into a database.

The time of a candidate is that of the untuned kernel now, times how much longer than it the
candidate took in the same batch: machines have faster and slower minutes.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray

from qcompile.errors import DeviceLost, QCompileError
from qcompile.records import canonical
from qcompile.targets import Target
from qcompile.tuning.any_task import AnyTask
from qcompile.tuning.batch import Batch, Candidate, Rounds
from qcompile.tuning.building import Builders
from qcompile.tuning.ledger import Ledger
from qcompile.tuning.measuring import Measurer
from qcompile.tuning.outcomes import Failure, Outcome, Timing
from qcompile.tuning.search import Finished
from qcompile.tuning.tasks import Task
from qcompile.tuning.worker_process import Built, Job

Decisions = Mapping[str, Any]
Told = Callable[[int, Sequence[Outcome]], None]


class Trials(ABC):
    """Evaluates candidates of tasks; `trials` new ones, then it is finished.

    told: called with the task and the outcomes of each batch, from any thread. default_s: seconds
    of the untuned kernels. lost: what was said of devices that are. batch: candidates that it is
    best asked for together.
    """

    batch = 8

    def __init__(
        self,
        tasks: Sequence[AnyTask],
        ledger: Ledger,
        *,
        device: str,
        processor: str,
        trials: int,
        told: Told,
    ) -> None:
        self.tasks = tasks
        self.ledger = ledger
        self.device = device
        self.processor = processor
        self.trials = trials
        self.told = told
        self.asked = 0
        self.default_s: list[float | None] = [None] * len(tasks)
        self._measurements: list[Measurement] = []

    @property
    def lost(self) -> Sequence[str]:
        return ()

    def evaluate(self, task: int, decisions: Sequence[Decisions]) -> "Measurement":
        """Build those candidates that are not known, and begin to measure them.

        Raises Finished once all trials are spent, DeviceLost when no device is left.
        """
        self.ledger.refresh(task)
        new = [d for d in decisions if self.ledger.known(task, d) is None]
        new = [d for d in new if canonical(d) != canonical(self.tasks[task].default)]
        if new and self.asked >= self.trials:
            raise Finished
        new = new[: self.trials - self.asked]
        self.asked += len(new)
        future = self.measure(task, new) if new else None
        measurement = Measurement(self, task, decisions, future)
        self._measurements.append(measurement)
        return measurement

    def finish(self) -> None:
        """Wait for the candidates that are still being measured. Raises DeviceLost."""
        for measurement in self._measurements:
            measurement.result()

    @abstractmethod
    def measure(
        self, task: int, decisions: Sequence[Decisions], rounds: Rounds | None = None
    ) -> Future[list[Outcome]]:
        """Measure these candidates beside the untuned kernel, and write down what becomes of them.

        rounds: for a thorough measurement.
        """

    def _write(
        self,
        task: int,
        decisions: Decisions,
        outcome: Outcome,
        first: Outcome,
        thorough: bool = False,
    ) -> None:
        self.ledger.write(
            task,
            decisions,
            outcome,
            first,
            device=self.device,
            processor=self.processor,
            thorough=thorough,
        )


class Laboratory(Trials):
    """Builds candidates here, and measures them on devices; `told` is called from a thread."""

    def __init__(
        self,
        tasks: Sequence[Task],
        target: Target,
        builders: Builders,
        measurer: Measurer,
        ledger: Ledger,
        *,
        device: str,
        processor: str,
        trials: int,
        told: Told,
        in_turns: bool = False,
    ) -> None:
        """in_turns: nothing is built while something is measured, on the same cores."""
        super().__init__(
            tasks, ledger, device=device, processor=processor, trials=trials, told=told
        )
        self.in_turns = in_turns
        self.kernels = tasks
        self.target = target
        self.builders = builders
        self.measurer = measurer
        self._references: list[Built | Failure | None] = [None] * len(tasks)
        self._arrays: dict[tuple[int, str], NDArray[Any]] = {}

    @property
    def lost(self) -> Sequence[str]:
        return self.measurer.lost

    def measure(
        self, task: int, decisions: Sequence[Decisions], rounds: Rounds | None = None
    ) -> Future[list[Outcome]]:
        """Measure these candidates beside the untuned kernel, and write down what becomes of them.

        rounds: for a thorough measurement.
        """
        one = self.kernels[task]
        if self._references[task] is None:
            (self._references[task],) = self.builders.build([Job(_text(one))])
        reference = self._references[task]
        if not isinstance(reference, Built):
            assert reference is not None
            raise QCompileError(f"layer {one.name!r}: its untuned kernel: {reference.message}")
        built = self.builders.build([Job(_text(one), dict(d)) for d in decisions])
        pairs = list(zip(decisions, built, strict=True))
        for chosen, kernel in pairs:
            if isinstance(kernel, Failure):
                self._write(task, chosen, kernel, kernel)
        measured = [(d, kernel) for d, kernel in pairs if isinstance(kernel, Built)]
        candidates = tuple(Candidate(k, self._operands(task, d)) for d, k in measured)
        own = Candidate(reference, self._operands(task, one.default))
        batch = Batch(own, candidates, rounds=rounds)
        written: Future[list[Outcome]] = Future()

        def write(done: Future[list[Outcome]]) -> None:
            try:
                first, *others = done.result()
                if isinstance(first, Timing):
                    self.default_s[task] = first.seconds_each
                    if self.ledger.known(task, one.default) is None:
                        self._write(task, one.default, first, first)
                for (chosen, _), outcome in zip(measured, others, strict=True):
                    self._write(task, chosen, outcome, first, thorough=rounds is not None)
                self.told(task, done.result())
                written.set_result(done.result())
            except BaseException as error:
                written.set_exception(error)

        self.measurer.submit(batch).add_done_callback(write)
        if self.in_turns:
            wait([written])
        return written

    def _operands(self, task: int, decisions: Decisions) -> tuple[NDArray[Any], ...]:
        """The operands of a candidate; arrays that are equal are the same object."""
        arrays = self.kernels[task].operands(decisions, self.target)
        return tuple(self._shared(task, array) for array in arrays)

    def _shared(self, task: int, array: NDArray[Any]) -> NDArray[Any]:
        key = task, f"{array.shape}{array.dtype}{hash(np.ascontiguousarray(array).tobytes())}"
        return self._arrays.setdefault(key, array)


class Measurement:
    """The seconds of candidates, once they are measured."""

    def __init__(
        self,
        laboratory: Trials,
        task: int,
        decisions: Sequence[Decisions],
        future: Future[list[Outcome]] | None,
    ) -> None:
        self.laboratory = laboratory
        self.task = task
        self.decisions = decisions
        self.future = future

    def done(self) -> bool:
        return self.future is None or self.future.done()

    def result(self) -> list[float | None]:
        """None for candidates that failed, or that were not measured any more."""
        if self.future is not None:
            first = self.future.result()[0]
            if isinstance(first, Failure) and first.kind == "device":
                raise DeviceLost(first.message)
        base = self.laboratory.default_s[self.task]
        assert base is not None
        return [self._seconds(decisions, base) for decisions in self.decisions]

    def _seconds(self, decisions: Decisions, base: float) -> float | None:
        if canonical(decisions) == canonical(self.laboratory.tasks[self.task].default):
            return base
        known = self.laboratory.ledger.known(self.task, decisions)
        return None if known is None or known.ratio is None else known.ratio * base


def _text(task: Task) -> str:
    return str(tvm.ir.save_json(task.function))
