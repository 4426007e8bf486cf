"""Tuning of a network for a target: from its ONNX file to records of fast decisions."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from qcompile.devices import LOCAL, open_device
from qcompile.errors import DeviceLost
from qcompile.records import Database, Skipped, canonical, shipped
from qcompile.schedules.space import VERSION, frozen
from qcompile.targets import Target, list_targets, load_target
from qcompile.tuning.batch import Rounds
from qcompile.tuning.building import Builders
from qcompile.tuning.cores import share_cores
from qcompile.tuning.cost_model import CostModel, choices_of
from qcompile.tuning.earlier import earlier_groups
from qcompile.tuning.laboratory import Laboratory
from qcompile.tuning.ledger import Ledger
from qcompile.tuning.measuring import Measurer
from qcompile.tuning.network import tasks_of
from qcompile.tuning.outcomes import Failure, Outcome
from qcompile.tuning.search import SearchSettings, search
from qcompile.tuning.stations import MODEL
from qcompile.tuning.tasks import Task, shares

# The best candidates of each task are measured once more, longer, beside the untuned kernel.
FINALISTS = 3
THOROUGH = Rounds(least=24, budget_s=1.0)


@dataclass(frozen=True)
class TaskState:
    """Where the tuning of one task is. Seconds of one call; share: of the network's time."""

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


@dataclass(frozen=True)
class TuneResult:
    """What tuning found. curve: the network's tuned seconds after each batch, by new trials."""

    tasks: tuple[TaskState, ...]
    curve: tuple[tuple[int, float], ...]
    measured: int
    failures: tuple[tuple[str, Failure], ...]
    skipped: Skipped
    earlier: int
    interrupted: str | None

    @property
    def before_s(self) -> float:
        """The seconds of all tasks of the network with default decisions."""
        return sum(task.calls * (task.default_s or 0) for task in self.tasks)

    @property
    def after_s(self) -> float:
        return sum(task.calls * (task.best_s or task.default_s or 0) for task in self.tasks)


class Watcher(Protocol):
    """Is told how tuning goes on; `state` after each batch, from any thread."""

    def say(self, text: str) -> None: ...
    def state(self, tasks: Sequence[TaskState], measured: int, trials: int) -> None: ...


class _Silent:
    def say(self, text: str) -> None:
        pass

    def state(self, tasks: Sequence[TaskState], measured: int, trials: int) -> None:
        pass


def tune_network(
    model: Path,
    target: Target,
    records: Path,
    *,
    trials: int,
    devices: Sequence[str] = (LOCAL,),
    seed: int = 0,
    batch: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    watcher: Watcher | None = None,
) -> TuneResult:
    """Measure up to `trials` new candidates of the model's kernels; the records get them all.

    Raises QCompileError before anything is measured; a device that is lost later, or ctrl-C, ends
    the tuning early: `interrupted` says so, and the same call goes on from there.
    """
    watcher = watcher or _Silent()
    database = Database(records, VERSION)
    database.expect_writable()
    tasks = tasks_of(model, target, watcher.say, batch=batch, shapes=shapes)
    with ExitStack() as stack:
        cores = share_cores(sum(name == LOCAL for name in devices))
        stack.enter_context(_on_cores(cores.building))
        watcher.say("opening the devices")
        measurer = stack.enter_context(Measurer(devices, target, cores=cores.measuring))
        builders = stack.enter_context(
            Builders(target, max(len(cores.building), 1), cores.building)
        )
        modelled = devices[0].startswith(MODEL)
        ledger = Ledger(tasks, target, database, modelled=modelled)
        session = _Session(tasks, target, ledger, watcher, trials)
        laboratory = Laboratory(
            tasks,
            target,
            builders,
            measurer,
            ledger,
            device=devices[0],
            processor=_processor(devices[0], target),
            trials=trials,
            told=session.told,
        )
        session.laboratory = laboratory
        return session.run(seed)


@dataclass
class _Session:
    """One tuning of a network."""

    tasks: Sequence[Task]
    target: Target
    ledger: Ledger
    watcher: Watcher
    trials: int
    laboratory: Any = None
    earlier: int = 0

    def __post_init__(self) -> None:
        self.curve: list[tuple[int, float]] = []

    def run(self, seed: int) -> TuneResult:
        interrupted = None
        try:
            self.watcher.say("measuring the untuned kernels")
            waiting = [self.laboratory.measure(number, ()) for number in range(len(self.tasks))]
            for future in waiting:
                (outcome,) = future.result()
                if isinstance(outcome, Failure):
                    raise DeviceLost(f"the untuned kernels cannot be measured: {outcome.message}")
            known = [task.workload for task in self.tasks]
            groups = earlier_groups(
                [*self.ledger.records, *shipped(VERSION).records],
                [self.target, *map(load_target, list_targets())],
                known,
            )
            self.earlier = sum(len(group.seconds) for group in groups)
            model = CostModel(self.tasks, self.target, groups, seed)
            for number, task in enumerate(self.tasks):
                self._learn(model, number, task)
            calls = [len(task.layers) for task in self.tasks]
            self.watcher.say("searching")
            settings = SearchSettings(seed=seed)
            search(self.tasks, calls, self.laboratory, self.target, settings, model)
            self._confirm()
        except KeyboardInterrupt:
            interrupted = "interrupted"
        except DeviceLost as error:
            interrupted = str(error)
        return TuneResult(
            tasks=tuple(self.states()),
            curve=tuple(self.curve),
            measured=self.ledger.measured,
            failures=tuple((self.tasks[k].name, f) for k, f in self.ledger.failures),
            skipped=self.ledger.skipped,
            earlier=self.earlier,
            interrupted=interrupted,
        )

    def _learn(self, model: CostModel, number: int, task: Task) -> None:
        """Tell the model what the database has of a task, and of the untuned kernel."""
        known = self.ledger.all_known(number)
        ratios = {key: each.ratio for key, each in known.items()} | {canonical(task.default): 1.0}
        base = self.laboratory.default_s[number]
        choices, seconds = [], []
        for key, ratio in ratios.items():
            decisions = _frozen(json.loads(key))
            if task.space.has(decisions):
                choices.append(choices_of(task.space.decisions, decisions))
                seconds.append(None if ratio is None else ratio * base)
        model.update(number, choices, seconds)

    def told(self, task: int, outcomes: Sequence[Outcome]) -> None:
        """Take note of a batch."""
        states = self.states()
        if all(state.default_s for state in states):
            total = sum(s.calls * (s.best_s or s.default_s or 0) for s in states)
            self.curve.append((self.laboratory.asked, total))
        self.watcher.state(states, self.laboratory.asked, self.trials)

    def states(self) -> list[TaskState]:
        default_s = self.laboratory.default_s
        parts = (
            shares([s for s in default_s if s], self.tasks)
            if all(default_s)
            else [0.0] * len(self.tasks)
        )
        return [
            self._state(number, task, share)
            for number, (task, share) in enumerate(zip(self.tasks, parts, strict=True))
        ]

    def _state(self, number: int, task: Task, share: float) -> TaskState:
        known = self.ledger.all_known(number)
        ratios = {key: k.ratio for key, k in known.items() if k.ratio is not None}
        best = min(ratios, key=lambda key: ratios[key], default=None)
        default_s = self.laboratory.default_s[number]
        wins = best is not None and ratios[best] < 1
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
        )

    def _confirm(self) -> None:
        """Measure the best of each task once more, unless that was done."""
        self.watcher.say("measuring the best once more")
        waiting = []
        for number in range(len(self.tasks)):
            known = self.ledger.all_known(number)
            ratios = {key: k.ratio for key, k in known.items() if k.ratio is not None}
            best = sorted((key for key in ratios if ratios[key] < 1), key=lambda key: ratios[key])
            finalists = best[:FINALISTS]
            if finalists and not any(known[key].thorough for key in finalists[:1]):
                decisions = [_frozen(json.loads(key)) for key in finalists]
                waiting.append(self.laboratory.measure(number, decisions, THOROUGH))
        for future in waiting:
            future.result()


def _frozen(decisions: Mapping[str, Any]) -> dict[str, Any]:
    return {name: frozen(value) for name, value in decisions.items()}


def _processor(device: str, target: Target) -> str:
    """What measures: the name of the processor, or of the modelled core."""
    if device.startswith(MODEL):
        return f"model of {target.llvm['mcpu']}"
    with open_device(device, target.architecture.name, str(target.llvm["mcpu"])) as opened:
        return opened.processor().name or "unknown"


@contextmanager
def _on_cores(cores: Sequence[int]) -> Iterator[None]:
    """This process keeps off the cores that measure."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
