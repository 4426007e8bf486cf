"""What is known of the candidates of tasks, and where new measurements are written at once."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from qcompile import records
from qcompile.records import Database, MeasuredTarget, Record, Versions, canonical
from qcompile.schedules.space import VERSION
from qcompile.targets import Target, VtaTarget
from qcompile.tuning.any_task import AnyTask
from qcompile.tuning.outcomes import Failure, Outcome, Timing

# Failures that say nothing of the candidate: it is measured again another time.
OF_OTHERS = ("device", "reference")


@dataclass(frozen=True)
class Known:
    """A candidate's time as a part of the untuned kernel's, None when it failed."""

    ratio: float | None
    thorough: bool = False


class Ledger:
    """Candidates that were measured, of each task, by their decisions. Threads may share it."""

    def __init__(
        self,
        tasks: Sequence[AnyTask],
        target: Target | VtaTarget,
        database: Database,
        *,
        modelled: bool,
        threads: int = 1,
    ) -> None:
        """Reads the database. Raises OutputError when it cannot be written."""
        self.tasks = tasks
        self.target = target
        self.database = database
        self.modelled = modelled
        self.threads = threads
        self.failures: list[tuple[int, Failure]] = []
        self.measured = 0  # new candidates since it was made
        self._lock = threading.Lock()
        database.expect_writable()
        contents = database.load()
        self.skipped = contents.skipped
        self.records = contents.records
        self._known: list[dict[str, Known]] = []
        for number in range(len(tasks)):
            self._known.append({})
            self._take(number)

    def refresh(self, task: int) -> None:
        """Know also what others have written since."""
        with self._lock:
            self.records = self.database.load().records
            self._take(task)

    def _take(self, number: int) -> None:
        """Know what the records have of a task."""
        task, found = self.tasks[number], self._known[number]
        for record in self.records.of(task.workload, self.target):
            alike = record.modelled == self.modelled and record.threads == self.threads
            if alike and task.space.has(record.decisions):
                known = _known(record)
                if known is not None and not _better_known(found.get(record.decisions_key), known):
                    found[record.decisions_key] = known

    def known(self, task: int, decisions: Mapping[str, Any]) -> Known | None:
        """What was measured of a candidate."""
        return self._known[task].get(canonical(decisions))

    def all_known(self, task: int) -> dict[str, Known]:
        """All candidates that were measured, by the JSON of their decisions."""
        with self._lock:
            return dict(self._known[task])

    def write(
        self,
        task: int,
        decisions: Mapping[str, Any],
        outcome: Outcome,
        reference: Outcome,
        *,
        device: str,
        processor: str,
        thorough: bool = False,
    ) -> None:
        """Append what became of a candidate to the database, and know it from now on."""
        one = self.tasks[task]
        if isinstance(outcome, Failure) and outcome.kind in OF_OTHERS:
            with self._lock:
                self.failures.append((task, outcome))
            return
        base = reference.seconds_each if isinstance(reference, Timing) else None
        timed = isinstance(outcome, Timing) and base is not None
        record = Record(
            operator=one.operator,
            problem=one.fields,
            epilogue=one.epilogue,
            decisions=dict(decisions),
            default=canonical(decisions) == canonical(one.default),
            seconds=outcome.seconds if isinstance(outcome, Timing) else None,
            estimate_s=outcome.seconds_each if isinstance(outcome, Timing) else None,
            spread=outcome.spread if isinstance(outcome, Timing) else None,
            reference_s=base if timed else None,
            failure=(
                records.Failure(outcome.kind, outcome.message)
                if isinstance(outcome, Failure)
                else None
            ),
            target=MeasuredTarget.of(self.target),
            device=device,
            processor=processor,
            threads=self.threads,
            thorough=thorough,
            versions=Versions(
                metadata.version("qcompile"), VERSION, metadata.version("apache-tvm")
            ),
            time=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
        known = _known(record)
        with self._lock:
            self.database.append(record)
            self.measured += not (record.default or thorough)
            if isinstance(outcome, Failure):
                self.failures.append((task, outcome))
            if known is not None:
                self._known[task][record.decisions_key] = known


def _better_known(one: Known | None, other: Known) -> bool:
    """Whether one was measured thoroughly, and the other not."""
    return one is not None and one.thorough and not other.thorough


def _known(record: Record) -> Known | None:
    if record.failure is not None:
        return None if record.failure.kind in OF_OTHERS else Known(None)
    if record.estimate_s is None or record.reference_s is None:
        return None
    return Known(record.estimate_s / record.reference_s, record.thorough)
