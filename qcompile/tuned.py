"""Which decisions the kernels of a network are compiled with, and what the report says of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tvm

from qcompile.passes.lowering import Decided
from qcompile.records import (
    Case,
    Database,
    MeasuredTarget,
    Record,
    Records,
    Skipped,
    choose,
    shipped,
)
from qcompile.schedules.space import VERSION, UnknownDecision
from qcompile.targets import Target, VtaTarget
from qcompile.targets.vta.layers import Segment, Sums
from qcompile.tuning.any_task import AnyTask
from qcompile.tuning.tasks import extract_tasks
from qcompile.tuning.vta_tasks import POOL, SUMS, vta_tasks

NONE_SKIPPED = Skipped()


@dataclass(frozen=True)
class Sources:
    """The records to compile with, those that come first first.

    folder: of the user's database, skipped: what of it was not read. threads: that the kernels are
    chosen for.
    """

    databases: tuple[Records, ...]
    folder: Path | None = None
    skipped: Skipped = NONE_SKIPPED
    threads: int = 1

    @classmethod
    def read(
        cls, folder: str | Path | None, *, shipped_records: bool = True, threads: int = 1
    ) -> "Sources":
        """The user's records, then those that ship. Raises InvalidRecord for no such folder."""
        last = shipped(VERSION).records if shipped_records else Records()
        if folder is None:
            return cls((last,), threads=threads)
        own = Database(folder, VERSION).load()
        return cls((own.records, last), Path(folder), own.skipped, threads)

    def ships(self, record: Record, target: Target | VtaTarget) -> bool:
        """Whether a record for the target is none of the user's."""
        *own, _ = self.databases
        found = [each for records in own for each in records.of(record.workload, target)]
        return not any(each is record for each in found)


@dataclass(frozen=True)
class KernelTuning:
    """What one kernel is compiled with, and why; decisions None: the default ones.

    seconds, default_s: of one call with these decisions and with the default ones, on `processor`;
    modelled: by a model of it, else measured; shipped: the record is none of the user's.
    """

    operator: str
    layer: str
    case: Case
    decisions: Mapping[str, Any] | None = None
    seconds: float | None = None
    default_s: float | None = None
    modelled: bool = False
    processor: str | None = None
    shipped: bool = False

    @property
    def tuned(self) -> bool:
        return self.decisions is not None

    def told(self) -> dict[str, Any]:
        """The fields that the report has of a kernel, and as a layer's `tuning`."""
        times = "modelled" if self.modelled else "measured"
        return {
            "case": self.case.value,
            "decisions": self.decisions,
            "seconds": self.seconds,
            "default_seconds": self.default_s,
            "times": None if self.seconds is None else times,
            "processor": self.processor,
            "shipped": self.shipped,
        }


def tunings_of(fused: tvm.IRModule, target: Target, sources: Sources) -> tuple[KernelTuning, ...]:
    """One for each kernel that decisions can be taken for. `fused`: with default decisions."""
    return tuple(
        tuning
        for task in extract_tasks(fused, target, sources.threads)
        for tuning in _of_task(task, target, sources)
    )


def vta_tunings_of(
    segments: Sequence[Segment], board: VtaTarget, sources: Sources
) -> tuple[KernelTuning, ...]:
    """One for each layer of VTA's segments. Raises what the planner raises."""
    key = MeasuredTarget.of(board).key
    if any(record.target.key == key for records in sources.databases for record in records):
        tasks = vta_tasks(segments, board)
        return tuple(tuning for task in tasks for tuning in _of_task(task, board, sources))
    return tuple(
        KernelTuning(SUMS if isinstance(layer, Sums) else POOL, layer.name, Case.NO_RECORD)
        for segment in segments
        for layer in segment.layers
    )


def decided_by(tunings: Iterable[KernelTuning]) -> Decided:
    """The decisions to lower with; kernels with default ones are left out."""
    return {(t.operator, t.layer): t.decisions for t in tunings if t.decisions is not None}


def tuning_of_layer(tunings: Sequence[KernelTuning], layer: str, kernel: str) -> KernelTuning:
    """That of the layer's kernel; of several kernels that of the one that is named."""
    own = [tuning for tuning in tunings if tuning.layer == layer]
    named = [tuning for tuning in own if tuning.operator == kernel]
    return next(iter([*named, *own]), KernelTuning(kernel, layer, Case.NOTHING_TO_DECIDE))


def summary(tunings: Sequence[KernelTuning], sources: Sources) -> dict[str, Any]:
    """How many kernels are tuned, and what of the database was skipped: `tuning` in the report."""
    cases = [tuning.case for tuning in tunings]
    return {
        "kernels": len(tunings),
        "tuned": sum(tuning.tuned for tuning in tunings),
        "modelled": sum(tuning.tuned and tuning.modelled for tuning in tunings),
        "shipped": sum(tuning.tuned and tuning.shipped for tuning in tunings),
        "unknown_decisions": cases.count(Case.UNKNOWN_DECISIONS),
        "threads": sources.threads,
        "other_threads": cases.count(Case.OTHER_THREADS),
        "records": None if sources.folder is None else str(sources.folder),
        "skipped": str(sources.skipped),
    }


def _of_task(task: AnyTask, target: Target | VtaTarget, sources: Sources) -> list[KernelTuning]:
    """One for each layer of a task."""
    threads = 1 if isinstance(target, VtaTarget) else sources.threads
    choice = choose(sources.databases, task.operator, task.fields, task.epilogue, target, threads)
    case, decisions = choice.case, None
    if choice.record is not None:
        try:
            decisions = task.space.chosen(choice.record.decisions)
        except UnknownDecision:
            case = Case.UNKNOWN_DECISIONS
        if decisions == task.default:
            case, decisions = Case.DEFAULT_FASTEST, None
    one = KernelTuning(
        task.operator,
        "",
        case,
        decisions,
        seconds=choice.default_s if decisions is None else choice.seconds,
        default_s=choice.default_s,
        modelled=choice.modelled,
        processor=None if choice.record is None else choice.record.processor,
        shipped=choice.record is not None and sources.ships(choice.record, target),
    )
    return [replace(one, layer=layer) for layer in dict.fromkeys(task.layers)]
