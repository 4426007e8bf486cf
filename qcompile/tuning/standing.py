"""Where the tuning of a network is: what its ledger knows of each task, as users are told it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from qcompile.records import canonical
from qcompile.records.choice import MARGIN
from qcompile.tuning.any_task import AnyTask
from qcompile.tuning.kinds import kind_of
from qcompile.tuning.ledger import Known, Ledger
from qcompile.tuning.result import Point, TaskState
from qcompile.tuning.tasks import shares


@dataclass
class Standing:
    """limits: products a second of each kind, where they are known.

    The methods take the seconds of each untuned kernel, None where it is not measured yet.
    """

    tasks: Sequence[AnyTask]
    ledger: Ledger
    limits: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._curve: list[tuple[int, tuple[float, ...]]] = []  # the ratios of the best

    def states(self, default_s: Sequence[float | None], final: bool = False) -> list[TaskState]:
        """`final`: thorough measurements decide, as they do in `compile`."""
        parts = (
            shares([s for s in default_s if s], self.tasks)
            if all(default_s)
            else [0.0] * len(self.tasks)
        )
        return [
            self._state(number, seconds, share, final)
            for number, (seconds, share) in enumerate(zip(default_s, parts, strict=True))
        ]

    def candidates(self, number: int) -> dict[str, Known]:
        """What is known of a task, the default apart."""
        known = self.ledger.all_known(number)
        known.pop(canonical(self.tasks[number].default), None)
        return known

    def note(self, default_s: Sequence[float | None], trials: int) -> list[TaskState]:
        """The states after so many trials, of which the curve gets a point."""
        states = self.states(default_s)
        if all(state.default_s for state in states):
            self._curve.append((trials, tuple(1 - (state.gain or 0) for state in states)))
        return states

    def curve(self, states: Sequence[TaskState]) -> Iterator[Point]:
        """The points in seconds; candidates and the default were measured in turns."""
        default_s = [state.default_s or 0.0 for state in states]
        for trials, ratios in self._curve:
            tasks_s = tuple(s * ratio for s, ratio in zip(default_s, ratios, strict=True))
            calls = [state.calls for state in states]
            yield Point(trials, tasks_s, sum(s * n for s, n in zip(tasks_s, calls, strict=True)))

    def _state(self, number: int, default_s: float | None, share: float, final: bool) -> TaskState:
        task, known = self.tasks[number], self.candidates(number)
        deciding = {key: k for key, k in known.items() if k.thorough} if final else {}
        ratios = {k: v.ratio for k, v in (deciding or known).items() if v.ratio is not None}
        best = min(ratios, key=lambda key: ratios[key], default=None)
        wins = best is not None and ratios[best] < 1 - MARGIN
        return TaskState(
            name=task.name,
            operator=task.operator,
            calls=len(task.layers),
            share=share,
            candidates=task.space.size,
            trials=len(known),
            failed=sum(k.ratio is None for k in known.values()),
            default_s=default_s,
            best_s=default_s * ratios[best] if wins and default_s and best else default_s,
            best=json.loads(best) if wins and best else None,
            limit_s=self._limit_s(task),
        )

    def _limit_s(self, task: AnyTask) -> float | None:
        kind = kind_of(task.operator)
        rate = None if kind is None else self.limits.get(kind)
        return None if rate is None or task.products is None else task.products / rate
