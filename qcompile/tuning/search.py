"""The search for fast decisions: MetaSchedule's task scheduler, evolution and XGBoost model.

A trace of MetaSchedule only samples decisions and writes them into annotations; what they mean is
known to our plans. So a trace has the same instructions whatever is decided, features are made
from plans, and candidates are built and measured by whoever is given as `Laboratory`.
"""

import json
import random
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import tvm
import tvm_ffi
from tvm import s_tir
from tvm.ir.utils import derived_object
from tvm.s_tir import meta_schedule as ms

from qcompile.targets import Target, VtaTarget
from qcompile.tuning.any_task import AnyTask
from qcompile.tuning.choices import decisions_of
from qcompile.tuning.cost_model import CostModel
from qcompile.tuning.course import Course

TASK, CHOICE = "qcompile.task", "qcompile.choice."
TENSOR_INTRINSICS = "tvm.s_tir.tensor_intrin"
LIMITLESS = 2**30
# Spaces have hundreds of candidates, and scoring one is cheap.
POPULATION, UNMEASURED = 128, 16
# Of a batch: drawn at random. By the model alone, what the plans expect wrongly is found late.
EXPLORED = 1 / 8


class Measurement(Protocol):
    """Seconds of candidates that are being measured, None for those that failed."""

    def done(self) -> bool: ...
    def result(self) -> Sequence[float | None]: ...


class Laboratory(Protocol):
    """Builds candidates and measures them."""

    def evaluate(self, task: int, decisions: Sequence[Mapping[str, Any]]) -> Measurement:
        """Begin to measure candidates of one task. Raises Finished when nothing more may be."""
        ...


class Finished(Exception):
    """The budget is spent."""


@dataclass(frozen=True)
class SearchSettings:
    """guided: by the cost model; else candidates are drawn at random."""

    batch: int = 8
    seed: int = 0
    guided: bool = True


def search(
    tasks: Sequence[AnyTask],
    weights: Sequence[float],
    laboratory: Laboratory,
    target: Target | VtaTarget,
    settings: SearchSettings,
    model: CostModel,
) -> None:
    """Let the laboratory evaluate candidates until it is finished, or none are left.

    weights: how much a second of each task counts.
    """
    with _without_tensor_intrinsics():
        contexts = [_context(task, number, target, settings) for number, task in enumerate(tasks)]
        scheduler = ms.task_scheduler.GradientBased(seed=1 + settings.seed)
        course = Course()

        def work() -> None:
            ms.tune_tasks(
                tasks=contexts,
                task_weights=[float(weight) for weight in weights],
                work_dir="",
                max_trials_global=LIMITLESS,
                max_trials_per_task=LIMITLESS,
                num_trials_per_iter=settings.batch,
                builder=_Builder(),
                runner=_Runner(tasks, laboratory, course),
                database=ms.database.MemoryDatabase(),
                cost_model=_Model(model, course),
                measure_callbacks=[
                    ms.measure_callback.AddToDatabase(),
                    ms.measure_callback.UpdateCostModel(),
                ],
                task_scheduler=scheduler,
            )

        with suppress(Finished):
            course.run(work)


def _context(
    task: AnyTask, number: int, target: Target | VtaTarget, settings: SearchSettings
) -> Any:
    space = ms.space_generator.ScheduleFn(
        _sampler(task, number),
        sch_rules=[],
        postprocs=[],
        mutator_probs={_Mutator(settings.seed): 1.0},
    )
    strategy = (
        ms.search_strategy.EvolutionarySearch(
            population_size=POPULATION,
            init_min_unmeasured=UNMEASURED,
            eps_greedy=EXPLORED,
        )
        if settings.guided
        else ms.search_strategy.ReplayTrace()
    )
    return ms.TuneContext(
        mod=tvm.IRModule({"main": task.function}),
        target=target.tvm_target(),
        space_generator=space,
        search_strategy=strategy,
        task_name=task.name,
        num_threads=1,
        rand_state=1 + settings.seed,
    ).clone()


def _sampler(task: AnyTask, number: int) -> Callable[[s_tir.Schedule], None]:
    """Samples the number of the choice of each decision of a task, into an annotation."""
    counts = [len(decision.choices) for decision in task.space.decisions]

    def sample(sch: s_tir.Schedule) -> None:
        block = sch.get_sblock(task.anchor)
        sch.annotate(block, TASK, number)
        for place, count in enumerate(counts):
            chosen = sch.sample_categorical(list(range(count)), [1 / count] * count, decision=0)
            sch.annotate(block, f"{CHOICE}{place}", chosen)

    return sample


def _decided(mod: tvm.IRModule) -> tuple[int, tuple[int, ...]]:
    """The number of the task, and that of each choice, in the order of the space."""
    found: list[Any] = []

    def look(block: Any) -> None:
        if TASK in block.annotations:
            found.append(block.annotations)

    tvm_ffi.structural_walk(mod["main"].body, (s_tir.SBlock, look))
    (notes,) = found
    count = sum(str(key).startswith(CHOICE) for key in notes)
    return int(notes[TASK]), tuple(int(notes[f"{CHOICE}{place}"]) for place in range(count))


@derived_object
class _Mutator(ms.mutator.PyMutator):  # type: ignore[misc]
    """Changes one decision to any other choice."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self.rng = random.Random(seed)

    def _initialize_with_tune_context(self, context: Any) -> None:
        pass

    def apply(self, trace: Any, _: Any) -> Any:
        sampled = [
            instruction
            for instruction in trace.insts
            if instruction.kind.name == "SampleCategorical" and len(instruction.attrs[0]) > 1
        ]
        if not sampled:
            return None
        instruction = self.rng.choice(sampled)
        count, now = len(instruction.attrs[0]), int(trace.get_decision(instruction))
        other = (now + self.rng.randrange(1, count)) % count
        return trace.with_decision(instruction, other, remove_postproc=True)

    def clone(self) -> Any:
        return _Mutator(self.seed)


@derived_object
class _Builder(ms.builder.PyBuilder):  # type: ignore[misc]
    """Hands the decisions on: the laboratory builds."""

    def build(self, inputs: Any) -> Any:
        return [ms.builder.BuilderResult(json.dumps(_decided(each.mod)), None) for each in inputs]


@derived_object
class _Runner(ms.runner.PyRunner):  # type: ignore[misc]
    """Has candidates measured, all of one task."""

    def __init__(self, tasks: Sequence[AnyTask], laboratory: Laboratory, course: Course) -> None:
        super().__init__()
        self.tasks = tasks
        self.laboratory = laboratory
        self.course = course

    def run(self, inputs: Any) -> Any:
        asked = [json.loads(each.artifact_path) for each in inputs]
        if not asked:  # the space is exhausted; the search ends after some of these
            return []
        task = asked[0][0]
        decisions = [decisions_of(self.tasks[task].space, choices) for _, choices in asked]
        with self.course.step():
            measurement = self.laboratory.evaluate(task, decisions)
        return [_Future(measurement, number, self.course) for number in range(len(asked))]


@derived_object
class _Future(ms.runner.PyRunnerFuture):  # type: ignore[misc]
    """One candidate's part of a measurement."""

    def __init__(self, measurement: Measurement, number: int, course: Course) -> None:
        super().__init__()
        self.measurement = measurement
        self.number = number
        self.course = course

    def done(self) -> bool:
        return self.measurement.done()

    def result(self) -> Any:
        with self.course.step():
            seconds = self.measurement.result()[self.number]
        if seconds is None:
            return ms.runner.RunnerResult(None, "failed")
        return ms.runner.RunnerResult([seconds], None)


@derived_object
class _Model(ms.cost_model.PyCostModel):  # type: ignore[misc]
    """Our cost model, as MetaSchedule asks it."""

    def __init__(self, model: CostModel, course: Course) -> None:
        super().__init__()
        self.model = model
        self.course = course

    def update(self, context: Any, candidates: Any, results: Any) -> None:
        asked = [_decided(candidate.sch.mod) for candidate in candidates]
        seconds = [float(result.run_secs[0]) if result.run_secs else None for result in results]
        if asked:
            with self.course.step():
                self.model.update(asked[0][0], [choices for _, choices in asked], seconds)

    def predict(self, context: Any, candidates: Any) -> Any:
        asked = [_decided(candidate.sch.mod) for candidate in candidates]
        with self.course.step():
            # MetaSchedule takes scores below 0 for 0, and draws parents in proportion to them.
            return np.exp(self.model.predict(asked[0][0], [choices for _, choices in asked]))


@contextmanager
def _without_tensor_intrinsics() -> Iterator[None]:
    """TVM's own tensor intrinsics take seconds to import, for nothing: ours are our own."""
    if TENSOR_INTRINSICS in sys.modules:
        yield
        return
    sys.modules[TENSOR_INTRINSICS] = types.ModuleType(TENSOR_INTRINSICS)
    try:
        yield
    finally:
        del sys.modules[TENSOR_INTRINSICS]
