"""The search over decisions of real kernels, whose times are made up: nothing is built."""

import itertools
import subprocess
import sys
from dataclasses import replace
from statistics import median

import pytest
from tuning_tasks import TARGET, network, tasks_in

from qcompile.errors import DeviceLost
from qcompile.schedules.space import Space
from qcompile.tuning.choices import choices_of
from qcompile.tuning.cost_model import CostModel
from qcompile.tuning.search import TENSOR_INTRINSICS, Finished, SearchSettings, search

SEEDS = range(3)
GUIDED_TRIALS = 64  # of 180 candidates
BEST = (9, 1, 3)  # numbers of choices; the plan expects the first to be the best
SLOW_IMPORT = f"""
import sys
from test_search import Laboratory, Told, searched
from tuning_tasks import network, tasks_in
sys.modules.pop({TENSOR_INTRINSICS!r}, None)
searched(tasks_in(network())[:1], lambda task, choices: 1.0, trials=8, guided=False)
print({TENSOR_INTRINSICS!r} in sys.modules)
"""


class Told:
    """A measurement that has ended."""

    def __init__(self, seconds):
        self.seconds = seconds

    def done(self):
        return True

    def result(self):
        if isinstance(self.seconds, Exception):
            raise self.seconds
        return self.seconds


class Laboratory:
    """Knows the seconds of candidates, by the numbers of their choices; `trials` new ones."""

    def __init__(self, tasks, seconds, trials):
        self.tasks, self.seconds, self.trials = tasks, seconds, trials
        self.asked = []

    def evaluate(self, task, decisions):
        space = self.tasks[task].space.decisions
        asked = [(task, choices_of(space, each)) for each in decisions]
        if len(self.asked) + len(asked) > self.trials:
            raise Finished
        self.asked += asked
        return Told([self.seconds(*each) for each in asked])


def searched(tasks, seconds, *, trials, seed=0, guided=True, batch=8):
    """What was asked for, in order."""
    laboratory = Laboratory(tasks, seconds, trials)
    model = CostModel(tasks, TARGET, seed=seed)
    settings = SearchSettings(batch, seed, guided)
    search(tasks, [1] * len(tasks), laboratory, TARGET, settings, model)
    return laboratory.asked


def distance(task, choices):
    """Seconds that grow with the distance from the best."""
    (tile, order, split) = (abs(one - other) for one, other in zip(choices, BEST, strict=True))
    return 1e-3 * (1 + tile / 8 + 0.3 * order + 0.1 * split)


@pytest.fixture(scope="module")
def tasks():
    return tasks_in(network())


@pytest.fixture(scope="module")
def task(tasks):
    """One with 180 candidates."""
    (found,) = (each for each in tasks if each.space.size == 180)
    return found


def until_best(asked):
    """How many candidates it took; repeated ones count once."""
    return list(dict.fromkeys(asked)).index((0, BEST)) + 1


def test_finds_the_best_sooner_than_by_chance(task, whole_population):
    def sought(task, choices):
        if choices == BEST:
            raise Finished
        return distance(task, choices)

    guided = [
        until_best(searched([task], sought, trials=GUIDED_TRIALS, seed=seed)) for seed in SEEDS
    ]
    # Of so many candidates drawn without repetition one is found after half of them on average.
    assert 3 * median(guided) <= 2 * (task.space.size + 1) / 2


def test_asks_what_the_model_ranks_first(task, whole_population):
    """As soon as it has learned, most of what it asks is among the best quarter."""
    asked = searched([task], distance, trials=40)
    counts = [range(len(decision.choices)) for decision in task.space.decisions]
    every = sorted(distance(0, each) for each in itertools.product(*counts))
    assert median(distance(*each) for each in asked[24:]) <= every[len(every) // 4]


@pytest.mark.parametrize("guided", [True, False])
def test_one_seed_asks_the_same(task, guided):
    runs = [searched([task], distance, trials=24, seed=seed, guided=guided) for seed in (5, 5, 6)]
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize("guided", [True, False])
@pytest.mark.parametrize("trials", [0, 1, 8, 20])
def test_ends_when_the_budget_is_spent(task, trials, guided):
    asked = searched([task], distance, trials=trials, guided=guided)
    assert len(asked) == trials // 8 * 8


def small(task, counts):
    """The task with so many choices of each decision."""
    decisions = zip(task.space.decisions, counts, strict=True)
    return replace(
        task,
        space=Space(
            tuple(
                replace(each, choices=each.choices[:count], costs=each.costs[:count])
                for each, count in decisions
            )
        ),
    )


@pytest.mark.parametrize("counts", [(1, 1, 1), (1, 2, 1), (3, 1, 2), (3, 2, 3)])
def test_ends_when_the_space_is_exhausted(task, counts):
    asked = searched([small(task, counts)], distance, trials=2000)
    every = {(0, choices) for choices in itertools.product(*map(range, counts))}
    assert len(set(asked)) == len(asked)
    assert set(asked) == every


def test_an_exhausted_task_leaves_trials_to_others(tasks):
    asked = searched([small(tasks[0], (2, 1, 1)), tasks[1]], lambda *_: 1.0, trials=40)
    assert {choices for task, choices in asked if task == 0} == {(0, 0, 0), (1, 0, 0)}
    assert sum(task == 1 for task, _ in asked) >= 24


def test_tasks_that_count_more_get_more_trials(tasks):
    """Two that improve alike; a second of one counts as much as a hundred of the other."""
    laboratory = Laboratory(tasks, distance, 120)
    model, settings = CostModel(tasks, TARGET), SearchSettings(guided=False)
    search(tasks, [1, 100], laboratory, TARGET, settings, model)
    counts = [sum(task == number for task, _ in laboratory.asked) for number in (0, 1)]
    assert counts[1] > 2 * counts[0] > 0


@pytest.mark.parametrize("guided", [True, False])
def test_outlives_failures(task, guided, whole_population):
    def seconds(task, choices):
        return None if choices[0] % 2 else distance(task, choices)

    asked = searched([task], seconds, trials=32, guided=guided)
    assert len(asked) == 32
    assert {choices[0] % 2 for _, choices in asked} == {0, 1}


def test_avoids_what_fails(task, whole_population):
    """Whatever has the other order fails; after a batch that is known."""

    def seconds(task, choices):
        return None if choices[1] else distance(task, choices)

    asked = searched([task], seconds, trials=32)
    assert sum(choices[1] for _, choices in asked[16:]) <= 2


def test_outlives_nothing_but_failures(task):
    assert len(searched([task], lambda *_: None, trials=24)) == 24


@pytest.mark.parametrize("late", [False, True])
def test_raises_what_the_laboratory_raises(task, late):
    class Unplugged(Laboratory):
        def evaluate(self, task, decisions):
            if late:
                return Told(DeviceLost("the cable is out"))
            raise DeviceLost("the cable is out")

    with pytest.raises(DeviceLost, match="the cable is out"):
        search(
            *([task], [1], Unplugged([task], distance, 99), TARGET),
            *(SearchSettings(), CostModel([task], TARGET)),
        )
    assert (
        not hasattr(sys.modules.get(TENSOR_INTRINSICS), "__file__")
        or sys.modules[TENSOR_INTRINSICS].__file__
    )


def test_leaves_no_module_replaced():
    """In a process of its own: others may have imported it."""
    done = subprocess.run(
        [sys.executable, "-c", SLOW_IMPORT],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
        check=True,
    )
    assert done.stdout.split() == ["False"]
