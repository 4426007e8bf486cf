"""Records in memory, found by what they measured."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from qcompile.records.canonical import canonical
from qcompile.records.parts import DEVICE_FAILURE, MeasuredTarget, TargetKey
from qcompile.records.record import Record
from qcompile.targets import Target, VtaTarget


class Records:
    """Records by workload and target; targets with equal keys serve each other."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._found: dict[tuple[str, TargetKey], list[Record]] = defaultdict(list)
        self._workloads: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
        for record in records:
            self.add(record)

    def add(self, record: Record) -> None:
        key = record.workload, record.target.key
        if key not in self._found:
            problem = record.operator, canonical(record.problem)
            self._workloads[problem][record.workload] = None
        self._found[key].append(record)

    def __iter__(self) -> Iterator[Record]:
        for records in self._found.values():
            yield from records

    def __len__(self) -> int:
        return sum(map(len, self._found.values()))

    def of(self, workload: str, target: Target | VtaTarget) -> tuple[Record, ...]:
        """All that was measured of the workload on targets as this one, in order."""
        return tuple(self._found.get((workload, MeasuredTarget.of(target).key), ()))

    def workloads(self, operator: str, problem: Mapping[str, Any]) -> tuple[str, ...]:
        """The workloads that are this problem, each with its epilogue."""
        return tuple(self._workloads.get((operator, canonical(problem)), ()))

    def measured(self, workload: str, target: Target | VtaTarget, modelled: bool) -> frozenset[str]:
        """The decisions, as canonical JSON, that need not be measured again.

        Candidates that failed are among them, not those whose device did. `modelled`: on models of
        processors; else on real ones.
        """
        return frozenset(
            record.decisions_key
            for record in self.of(workload, target)
            if record.modelled == modelled
            and (record.failure is None or record.failure.kind != DEVICE_FAILURE)
        )
