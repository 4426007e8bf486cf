"""Which decisions a kernel is compiled with, and on what grounds.

Only times with as many threads as the kernel is compiled for count: what is fastest for one may
have too few parts for several. Times compare only within one group: one workload, on one processor.
Of several groups that one decides in which most decisions were timed, of these the newest. As
machines drift, each candidate is compared with the default kernel that was measured in turns with
it: it has the median of its ratios, the least wins if it is below 1 by more than measurements
spread. Where some were measured thoroughly, only these count: the fastest of many is also the
luckiest.
"""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from qcompile.records.canonical import workload_of
from qcompile.records.collection import Records
from qcompile.records.parts import WRONG_RESULT
from qcompile.records.record import Record
from qcompile.targets import Target, VtaTarget

# Samples of a quiet machine are within this of each other: less is no gain.
MARGIN = 0.01


class Case(StrEnum):
    """Why a kernel has the decisions that it has."""

    TUNED = "tuned"
    OTHER_EPILOGUE = "tuned with another epilogue"
    NO_RECORD = "default: no record"
    DEFAULT_FASTEST = "default: measured fastest"
    # What a compile finds beyond the records.
    UNKNOWN_DECISIONS = "default: its record has decisions that this version does not know"
    OTHER_THREADS = "default: its records are of another number of threads"
    NOTHING_TO_DECIDE = "default: nothing to decide"


@dataclass(frozen=True)
class Choice:
    """What to compile with: `record.decisions`, or the default without a record.

    `seconds`, `default_s`: medians of the estimates of these decisions, and of the default ones
    beside all candidates of the group. `modelled`: they are a model's.
    """

    case: Case
    record: Record | None = None
    seconds: float | None = None
    default_s: float | None = None
    modelled: bool = False

    @property
    def decisions(self) -> Mapping[str, Any] | None:
        """None: the default ones."""
        return None if self.record is None else self.record.decisions


NOTHING = Choice(Case.NO_RECORD)


def choose(
    databases: Sequence[Records],
    operator: str,
    problem: Mapping[str, Any],
    epilogue: Sequence[str],
    target: Target | VtaTarget,
    threads: int = 1,
) -> Choice:
    """The first that there is: real times before modelled ones, then earlier databases before
    later ones, then records of this epilogue before those of others. Only those of so many
    threads count.
    """
    workload = workload_of(operator, problem, epilogue)
    others = False
    for modelled in (False, True):
        for records in databases:
            for found in (
                best(records, workload, target, modelled, threads),
                best_of_problem(records, operator, problem, target, modelled, threads),
            ):
                if found.case not in (Case.NO_RECORD, Case.OTHER_THREADS):
                    return found
                others = others or found.case == Case.OTHER_THREADS
    return Choice(Case.OTHER_THREADS) if others else NOTHING


def best(
    records: Records,
    workload: str,
    target: Target | VtaTarget,
    modelled: bool = False,
    threads: int = 1,
) -> Choice:
    """TUNED, DEFAULT_FASTEST or none that counts, by the times of this very workload."""
    return _verdict(_timed(records.of(workload, target), modelled), Case.TUNED, threads)


def best_of_problem(
    records: Records,
    operator: str,
    problem: Mapping[str, Any],
    target: Target | VtaTarget,
    modelled: bool = False,
    threads: int = 1,
) -> Choice:
    """OTHER_EPILOGUE, DEFAULT_FASTEST or none, by the times of this problem, with any epilogue."""
    found = [
        record
        for workload in records.workloads(operator, problem)
        for record in records.of(workload, target)
    ]
    return _verdict(_timed(found, modelled), Case.OTHER_EPILOGUE, threads)


def _timed(records: Sequence[Record], modelled: bool) -> list[Record]:
    """Those with times, of decisions that never gave a wrong result."""
    wrong = {
        record.decisions_key
        for record in records
        if record.failure is not None and record.failure.kind == WRONG_RESULT
    }
    return [
        record
        for record in records
        if record.modelled == modelled
        and record.seconds is not None
        and record.decisions_key not in wrong
    ]


def _verdict(records: Sequence[Record], tuned: Case, threads: int) -> Choice:
    """What the deciding group of those with so many threads says."""
    own = [record for record in records if record.threads == threads]
    if not own:
        return Choice(Case.OTHER_THREADS) if records else NOTHING
    group = _deciding(own)
    modelled = group[0].modelled
    default_s = _median(record.reference_s for record in group)
    defaults = {record.decisions_key for record in group if record.default}
    candidates = [record for record in group if record.decisions_key not in defaults]
    thorough = [record for record in candidates if record.thorough]
    ratios = _ratios(thorough or candidates)
    fastest = min(ratios, key=lambda key: (ratios[key], key), default=None)
    if fastest is None or ratios[fastest] >= 1 - MARGIN:
        return Choice(Case.DEFAULT_FASTEST, None, default_s, default_s, modelled)
    found = [record for record in group if record.decisions_key == fastest]
    seconds = _median(record.estimate_s for record in found)
    return Choice(tuned, found[-1], seconds, default_s, modelled)


def _deciding(records: Iterable[Record]) -> list[Record]:
    """The group with most decisions; of several the newest."""
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        groups[record.workload, record.processor].append(record)

    def weight(group: list[Record]) -> tuple[int, str]:
        decisions = {record.decisions_key for record in group}
        return len(decisions), max(record.time for record in group)

    return max(groups.values(), key=weight)


def _ratios(records: Iterable[Record]) -> dict[str, float]:
    """The median ratio of each decisions to the default ones, by their key."""
    ratios: dict[str, list[float | None]] = defaultdict(list)
    for record in records:
        ratios[record.decisions_key].append(record.ratio)
    return {key: _median(values) for key, values in ratios.items()}


def _median(values: Iterable[float | None]) -> float:
    """The median of those that there are: of all records with times."""
    return statistics.median([value for value in values if value is not None])
