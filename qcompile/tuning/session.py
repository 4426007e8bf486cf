"""One tuning of kernels: the untuned ones are measured, then candidates, then the best again."""

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

from qcompile.errors import DeviceError, DeviceLost
from qcompile.records import canonical, shipped
from qcompile.schedules.space import VERSION, frozen
from qcompile.targets import Target, VtaTarget, list_boards, list_processors
from qcompile.tuning.any_task import AnyTask
from qcompile.tuning.batch import Rounds
from qcompile.tuning.choices import choices_of
from qcompile.tuning.cost_model import CostModel
from qcompile.tuning.earlier import earlier_groups
from qcompile.tuning.head_start import head_start
from qcompile.tuning.laboratory import Trials
from qcompile.tuning.ledger import Ledger
from qcompile.tuning.limits import measured_limits
from qcompile.tuning.outcomes import Failure, Outcome
from qcompile.tuning.result import TuneResult, Watcher
from qcompile.tuning.search import SearchSettings, search
from qcompile.tuning.standing import Standing
from qcompile.tuning.vta_earlier import earlier_vta_groups

# The best candidates of each task are measured once more, longer, beside the untuned kernel.
FINALISTS = 3
THOROUGH = Rounds(least=24, budget_s=1.0)


class Session:
    """What was found is told at any time; `run` finds it."""

    def __init__(
        self,
        tasks: Sequence[AnyTask],
        target: Target | VtaTarget,
        ledger: Ledger,
        watcher: Watcher,
        trials: int,
    ) -> None:
        self.tasks = tasks
        self.target = target
        self.ledger = ledger
        self.watcher = watcher
        self.trials = trials
        self.standing = Standing(tasks, ledger)
        self.known = sum(len(self.standing.candidates(number)) for number in range(len(tasks)))
        self.earlier = 0
        self.first_model: CostModel | None = None
        self.laboratory: Any = None

    def run(
        self,
        laboratory: Trials,
        *,
        seed: int,
        limits: Mapping[str, float] | None,
        evenly: bool = False,
    ) -> None:
        """Search, then measure the best once more.

        limits: None to measure them. evenly: all tasks count alike, however long they take and
        however often they are called.
        """
        self.laboratory = laboratory
        self._measure_untuned()
        self.standing.limits = self._measured_limits() if limits is None else limits
        model = self._model(seed)
        self.watcher.say("searching")
        weights = [
            1 / seconds if evenly else float(len(task.layers))
            for task, seconds in zip(self.tasks, laboratory.default_s, strict=True)
            if seconds
        ]
        settings = SearchSettings(batch=laboratory.batch, seed=seed)
        search(self.tasks, weights, laboratory, self.target, settings, model)
        laboratory.finish()
        self._confirm()

    def result(self, interrupted: str | None) -> TuneResult:
        """What was found; nothing is measured any more."""
        states = self.standing.states(self.laboratory.default_s, final=True)
        best = [state.best for state in states]
        model = self.first_model
        failures = tuple((self.tasks[k].name, failure) for k, failure in self.ledger.failures)
        return TuneResult(
            target=self.target.name,
            threads=self.ledger.threads,
            records=self.ledger.database.folder,
            tasks=tuple(states),
            curve=tuple(self.standing.curve(states)),
            trials=self.trials,
            measured=self.ledger.measured,
            known=self.known,
            failures=failures,
            skipped=self.ledger.skipped,
            limits=self.standing.limits,
            earlier=self.earlier,
            head_start=None if model is None else head_start(self.tasks, best, model),
            lost=tuple(self.laboratory.lost),
            interrupted=interrupted,
        )

    def told(self, task: int, outcomes: Sequence[Outcome]) -> None:
        """Take note of a batch."""
        asked = self.laboratory.asked
        states = self.standing.note(self.laboratory.default_s, asked)
        self.watcher.state(states, asked, self.trials)

    def _measure_untuned(self) -> None:
        """Raises DeviceLost, or DeviceError where an untuned kernel cannot be measured."""
        self.watcher.say("measuring the untuned kernels")
        waiting = [self.laboratory.measure(number, ()) for number in range(len(self.tasks))]
        for task, future in zip(self.tasks, waiting, strict=True):
            (outcome,) = future.result()
            if isinstance(outcome, Failure):
                kind = DeviceLost if outcome.kind == "device" else DeviceError
                raise kind(
                    f"the untuned kernel of {task.name} cannot be measured: {outcome.message}"
                )

    def _measured_limits(self) -> dict[str, float]:
        self.watcher.say("measuring the arithmetic limit")
        operators = [task.operator for task in self.tasks]
        laboratory = self.laboratory
        assert isinstance(self.target, Target)
        limits = measured_limits(operators, self.target, laboratory.builders, laboratory.measurer)
        return {kind: rate * self.ledger.threads for kind, rate in limits.items()}

    def _model(self, seed: int) -> CostModel:
        """It knows what was measured of other layers, then of these tasks."""
        records = [*self.ledger.records, *shipped(VERSION).records]
        own = [task.workload for task in self.tasks]
        if isinstance(self.target, VtaTarget):
            groups = earlier_vta_groups(records, [self.target, *list_boards()], own)
        else:
            groups = earlier_groups(records, [self.target, *list_processors()], own)
        self.earlier = sum(len(group.seconds) for group in groups)
        model = CostModel(self.tasks, self.target, groups, seed)
        self.first_model = copy.copy(model)
        for number, task in enumerate(self.tasks):
            self._learn(model, number, task)
        return model

    def _learn(self, model: CostModel, number: int, task: AnyTask) -> None:
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

    def _confirm(self) -> None:
        """Measure the best of each task once more, unless that was done."""
        self.watcher.say("measuring the best once more")
        waiting = []
        for number in range(len(self.tasks)):
            known = self.standing.candidates(number)
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
