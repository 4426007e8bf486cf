"""Tuning of a network for a target: from its ONNX file to records of fast decisions."""

import copy
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qcompile.devices import LOCAL, open_device
from qcompile.errors import DeviceError, DeviceLost, InvalidInput
from qcompile.records import Database, canonical, shipped
from qcompile.records.choice import MARGIN
from qcompile.schedules.space import VERSION, frozen
from qcompile.targets import Target, list_targets, load_target
from qcompile.tuning.batch import Rounds
from qcompile.tuning.building import Builders
from qcompile.tuning.cores import share_cores
from qcompile.tuning.cost_model import CostModel, choices_of
from qcompile.tuning.earlier import earlier_groups
from qcompile.tuning.head_start import head_start
from qcompile.tuning.laboratory import Laboratory
from qcompile.tuning.ledger import Known, Ledger
from qcompile.tuning.limits import kind_of, measured_limits, modelled_limits
from qcompile.tuning.measuring import Measurer
from qcompile.tuning.network import tasks_of
from qcompile.tuning.outcomes import Failure, Outcome
from qcompile.tuning.result import (
    Point,
    Silent,
    TaskState,
    TuneResult,
    TuningInterrupted,
    Watcher,
)
from qcompile.tuning.search import SearchSettings, search
from qcompile.tuning.stations import MODEL
from qcompile.tuning.tasks import Task, shares

# The best candidates of each task are measured once more, longer, beside the untuned kernel.
FINALISTS = 3
THOROUGH = Rounds(least=24, budget_s=1.0)


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

    Raises QCompileError before anything is measured; a device that is lost later ends the tuning
    early: `interrupted` says so. Ctrl-C raises TuningInterrupted. The same call goes on from there.
    """
    watcher = watcher or Silent()
    database = Database(records, VERSION)
    database.expect_writable()
    modelled = devices[0].startswith(MODEL)
    if any(name.startswith(MODEL) != modelled for name in devices):
        raise InvalidInput(f"{', '.join(devices)}: boards and models do not measure the same")
    tasks = tasks_of(model, target, watcher.say, batch=batch, shapes=shapes)
    ledger = Ledger(tasks, target, database, modelled=modelled)
    session = _Session(tasks, target, ledger, watcher, trials)
    try:
        with ExitStack() as stack:
            cores = share_cores(sum(name == LOCAL for name in devices))
            stack.enter_context(_on_cores(cores.building))
            watcher.say("opening the devices")
            processor = _processor(devices, target)
            measurer = stack.enter_context(Measurer(devices, target, cores=cores.measuring))
            session.lost = measurer.lost
            builders = stack.enter_context(Builders(target, len(cores.building), cores.building))
            session.laboratory = Laboratory(
                tasks,
                target,
                builders,
                measurer,
                ledger,
                device=devices[0],
                processor=processor,
                trials=trials,
                told=session.told,
            )
            limits = (
                modelled_limits(load_target(devices[0].removeprefix(MODEL))) if modelled else None
            )
            session.run(seed, limits)
    except KeyboardInterrupt as error:
        if session.laboratory is None:
            raise
        raise TuningInterrupted(session.result("interrupted")) from error
    except DeviceLost as error:
        if session.laboratory is None:
            raise
        return session.result(str(error))
    return session.result(None)


@dataclass
class _Session:
    """One tuning of a network."""

    tasks: Sequence[Task]
    target: Target
    ledger: Ledger
    watcher: Watcher
    trials: int
    laboratory: Any = None
    lost: Sequence[str] = ()
    earlier: int = 0
    limits: Mapping[str, float] = field(default_factory=dict)
    first_model: CostModel | None = None

    def __post_init__(self) -> None:
        self.known = sum(map(self._trials, range(len(self.tasks))))
        self._curve: list[tuple[int, tuple[float, ...]]] = []  # the ratios of the best

    def run(self, seed: int, limits: Mapping[str, float] | None) -> None:
        """Search, then measure the best once more. `limits`: None to measure them."""
        self.watcher.say("measuring the untuned kernels")
        waiting = [self.laboratory.measure(number, ()) for number in range(len(self.tasks))]
        for task, future in zip(self.tasks, waiting, strict=True):
            (outcome,) = future.result()
            if isinstance(outcome, Failure):
                kind = DeviceLost if outcome.kind == "device" else DeviceError
                raise kind(
                    f"the untuned kernel of {task.name} cannot be measured: {outcome.message}"
                )
        if limits is None:
            self.watcher.say("measuring the arithmetic limit")
            operators = [task.operator for task in self.tasks]
            laboratory = self.laboratory
            limits = measured_limits(
                operators, self.target, laboratory.builders, laboratory.measurer
            )
        self.limits = limits
        groups = earlier_groups(
            [*self.ledger.records, *shipped(VERSION).records],
            [self.target, *map(load_target, list_targets())],
            [task.workload for task in self.tasks],
        )
        self.earlier = sum(len(group.seconds) for group in groups)
        model = CostModel(self.tasks, self.target, groups, seed)
        self.first_model = copy.copy(model)
        for number, task in enumerate(self.tasks):
            self._learn(model, number, task)
        calls = [len(task.layers) for task in self.tasks]
        self.watcher.say("searching")
        settings = SearchSettings(seed=seed)
        search(self.tasks, calls, self.laboratory, self.target, settings, model)
        self._confirm()

    def result(self, interrupted: str | None) -> TuneResult:
        """What was found; nothing is measured any more."""
        states = tuple(self.states(final=True))
        best = [state.best for state in states]
        model = self.first_model
        failures = tuple((self.tasks[k].name, failure) for k, failure in self.ledger.failures)
        return TuneResult(
            target=self.target.name,
            records=self.ledger.database.folder,
            tasks=states,
            curve=tuple(self._points(states)),
            trials=self.trials,
            measured=self.ledger.measured,
            known=self.known,
            failures=failures,
            skipped=self.ledger.skipped,
            limits=self.limits,
            earlier=self.earlier,
            head_start=None if model is None else head_start(self.tasks, best, model),
            lost=tuple(self.lost),
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
            ratios = tuple(1 - (state.gain or 0) for state in states)
            self._curve.append((self.laboratory.asked, ratios))
        self.watcher.state(states, self.laboratory.asked, self.trials)

    def states(self, final: bool = False) -> list[TaskState]:
        """`final`: thorough measurements decide, as they do in `compile`."""
        default_s = self.laboratory.default_s
        parts = (
            shares([s for s in default_s if s], self.tasks)
            if all(default_s)
            else [0.0] * len(self.tasks)
        )
        return [
            self._state(number, task, share, final)
            for number, (task, share) in enumerate(zip(self.tasks, parts, strict=True))
        ]

    def _state(self, number: int, task: Task, share: float, final: bool) -> TaskState:
        known = self._candidates(number)
        deciding = {key: k for key, k in known.items() if k.thorough} if final else {}
        ratios = {k: v.ratio for k, v in (deciding or known).items() if v.ratio is not None}
        best = min(ratios, key=lambda key: ratios[key], default=None)
        default_s = self.laboratory.default_s[number]
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

    def _candidates(self, number: int) -> dict[str, Known]:
        """What is known of a task, the default apart."""
        known = self.ledger.all_known(number)
        known.pop(canonical(self.tasks[number].default), None)
        return known

    def _trials(self, number: int) -> int:
        return len(self._candidates(number))

    def _limit_s(self, task: Task) -> float | None:
        kind = kind_of(task.operator)
        rate = None if kind is None else self.limits.get(kind)
        return None if rate is None else task.problem.products / rate

    def _points(self, states: Sequence[TaskState]) -> Iterator[Point]:
        """The curve in seconds; candidates and the default were measured in turns."""
        default_s = [state.default_s or 0.0 for state in states]
        for trials, ratios in self._curve:
            tasks_s = tuple(s * ratio for s, ratio in zip(default_s, ratios, strict=True))
            calls = [state.calls for state in states]
            yield Point(trials, tasks_s, sum(s * n for s, n in zip(tasks_s, calls, strict=True)))

    def _confirm(self) -> None:
        """Measure the best of each task once more, unless that was done."""
        self.watcher.say("measuring the best once more")
        waiting = []
        for number in range(len(self.tasks)):
            known = self._candidates(number)
            ratios = {key: k.ratio for key, k in known.items() if k.ratio is not None}
            best = sorted((key for key in ratios if ratios[key] < 1), key=lambda key: ratios[key])
            finalists = [key for key in best[:FINALISTS] if not known[key].thorough]
            if finalists:
                decisions = [_frozen(json.loads(key)) for key in finalists]
                waiting.append(self.laboratory.measure(number, decisions, THOROUGH))
        for future in waiting:
            future.result()


def _frozen(decisions: Mapping[str, Any]) -> dict[str, Any]:
    return {name: frozen(value) for name, value in decisions.items()}


def _processor(devices: Sequence[str], target: Target) -> str:
    """What measures: the name of the processor, or of the modelled core.

    Raises InvalidInput unless it is the same for all: times of others would be another device's.
    """
    found = {name: _processor_of(name, target) for name in dict.fromkeys(devices)}
    if len(set(found.values())) > 1:
        told = ", ".join(f"{name} is {processor}" for name, processor in found.items())
        raise InvalidInput(f"devices that tune together must be of one kind: {told}")
    return found[devices[0]]


def _processor_of(device: str, target: Target) -> str:
    if device.startswith(MODEL):
        return f"model of {load_target(device.removeprefix(MODEL)).llvm['mcpu']}"
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
