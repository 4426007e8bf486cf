"""What tuning found, and who is told of it on the way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from qcompile.records import Skipped
from qcompile.tuning.head_start import HeadStart
from qcompile.tuning.outcomes import Failure


@dataclass(frozen=True)
class TaskState:
    """Where the tuning of one task is. Seconds of one call; share: of the network's time.

    limit_s: what its products would take at the device's arithmetic limit; None where it has none,
    or where that is not known.
    """

    name: str
    operator: str
    calls: int
    share: float
    candidates: int  # of its space
    trials: int  # measured, now and before
    failed: int
    default_s: float | None
    best_s: float | None
    best: Mapping[str, Any] | None  # None: the default is the fastest
    limit_s: float | None = None

    @property
    def gain(self) -> float | None:
        """How much less time the best decisions take, from 0 to 1."""
        if not self.default_s or not self.best_s:
            return None
        return 1 - self.best_s / self.default_s

    @property
    def of_limit(self) -> float | None:
        """The part of the arithmetic limit that the best decisions reach."""
        return self.limit_s / self.best_s if self.limit_s and self.best_s else None


@dataclass(frozen=True)
class Point:
    """After so many new trials: the seconds of one call of each task, and of all their calls."""

    trials: int
    tasks_s: tuple[float, ...]
    network_s: float


@dataclass(frozen=True)
class TuneResult:
    """What tuning found.

    threads: that kernels run on. curve: after each batch. measured: candidates that were measured
    now; known: before. limits: products a second of each kind on that many cores, where it is
    known. earlier: measurements of other layers that the cost model began with. interrupted: why
    not all trials were spent. lost: devices.
    """

    target: str
    threads: int
    records: Path
    tasks: tuple[TaskState, ...]
    curve: tuple[Point, ...]
    trials: int
    measured: int
    known: int
    failures: tuple[tuple[str, Failure], ...]
    skipped: Skipped
    limits: Mapping[str, float]
    earlier: int
    head_start: HeadStart | None
    lost: tuple[str, ...]
    interrupted: str | None

    @property
    def before_s(self) -> float:
        """The seconds of all tasks of the network with default decisions."""
        return sum(task.calls * (task.default_s or 0) for task in self.tasks)

    @property
    def after_s(self) -> float:
        return sum(task.calls * (task.best_s or task.default_s or 0) for task in self.tasks)


class TuningInterrupted(KeyboardInterrupt):
    """Ctrl-C in the middle; `result` is what was found before."""

    def __init__(self, result: TuneResult) -> None:
        super().__init__("interrupted")
        self.result = result


class Watcher(Protocol):
    """Is told how tuning goes on; `state` after each batch, from any thread."""

    def say(self, text: str) -> None: ...
    def state(self, tasks: Sequence[TaskState], measured: int, trials: int) -> None: ...


class Silent:
    """Tells nobody."""

    def say(self, text: str) -> None:
        pass

    def state(self, tasks: Sequence[TaskState], measured: int, trials: int) -> None:
        pass
