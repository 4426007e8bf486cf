"""Records of other kernels and processors become groups that a cost model begins with."""

from dataclasses import replace

import numpy as np
import pytest
from tuning_tasks import TARGET, network, tasks_in

from qcompile.records import Failure, MeasuredTarget, Versions
from qcompile.schedules.conv2d_plan import Conv2dProblem
from qcompile.schedules.space import VERSION
from qcompile.targets import load_target
from qcompile.tuning import earlier
from qcompile.tuning.choices import choices_of
from qcompile.tuning.cost_model import CostModel
from qcompile.tuning.earlier import earlier_groups
from tests.qcompile.records.record_lines import RECORD

NO_TIMES = dict.fromkeys(("seconds", "estimate_s", "spread", "reference_s"))
OTHER = load_target("znver4")


@pytest.fixture(scope="module")
def tasks():
    return tasks_in(network())


def record_of(task, choices, ratio=0.5, target=TARGET, **changes):
    """A candidate that took so much of the default's time."""
    decisions = {
        each.name: each.choices[k] for each, k in zip(task.space.decisions, choices, strict=True)
    }
    own = {
        "operator": task.operator,
        "problem": vars(task.problem),
        "epilogue": task.epilogue,
        "decisions": decisions,
        "estimate_s": ratio * 2e-3,
        "reference_s": 2e-3,
        "target": MeasuredTarget.of(target),
        "versions": Versions("0.1.0", VERSION, "0.27.0"),
    }
    return replace(RECORD, **(own | changes))


def failed(task, choices, kind):
    return record_of(task, choices, failure=Failure(kind, "it did"), **NO_TIMES)


def groups_of(*records, targets=(TARGET, OTHER), own=()):
    return earlier_groups(records, targets, own)


def test_records_of_a_workload_are_a_group(tasks):
    one, other = tasks
    found = groups_of(
        record_of(one, (0, 0, 0), 1.0), record_of(one, (2, 1, 0), 0.5), record_of(other, (1, 0, 0))
    )
    assert [group.seconds for group in found] == [[1.0, 0.5], [0.5]]


def test_features_are_those_of_a_task(tasks):
    """So that a model that begins with the group knows the candidate when it is asked for it."""
    (task, _), choices = tasks, (2, 1, 3)
    (group,) = groups_of(record_of(task, choices))
    model = CostModel([task], TARGET)
    np.testing.assert_array_equal(group.features[0], model.features(0, choices))
    assert group.expected == [model.expected(0, choices)]


def test_own_workloads_are_left_out(tasks):
    records = [record_of(task, (0, 0, 0)) for task in tasks]
    (found,) = groups_of(*records, own=[tasks[0].workload])
    assert found.seconds == [0.5]
    assert groups_of(*records, own=[task.workload for task in tasks]) == []


def test_processors_and_threads_are_groups(tasks):
    task = tasks[0]
    found = groups_of(
        record_of(task, (0, 0, 0), 0.25, processor="one"),
        record_of(task, (0, 0, 0), 0.5, processor="other"),
        record_of(task, (1, 0, 0), 0.75, processor="one"),
        record_of(task, (1, 0, 0), 1.5, processor="one", threads=2),
    )
    assert [group.seconds for group in found] == [[0.25, 0.75], [0.5], [1.5]]


def test_targets_have_features_of_their_own(tasks):
    problem = tasks[0].problem
    space = tasks[0].tunable.space(problem, OTHER).for_threads(1)
    elsewhere = replace(tasks[0], space=space)
    one, other = groups_of(
        record_of(tasks[0], (0, 0, 0), processor="one"),
        record_of(elsewhere, (0, 0, 0), processor="other", target=OTHER),
    )
    assert len(one.features[0]) == len(other.features[0])
    assert (one.features[0] != other.features[0]).any()


def test_unknown_targets_are_left_out(tasks):
    record = record_of(tasks[0], (0, 0, 0), target=OTHER)
    assert groups_of(record, targets=[TARGET]) == []


PROBLEM = vars(Conv2dProblem((1, 8, 8, 16), (16, 3, 3, 16), (1, 1, 1, 1), narrow=True))


@pytest.mark.parametrize(
    "changes",
    [
        *(
            {"problem": problem}
            for problem in [
                *({"rows": 3}, {**PROBLEM, "more": 1}, {**PROBLEM, "w": [16, 3]}),
                *({**PROBLEM, "groups": "many"}, {**PROBLEM, "groups": 0}, {**PROBLEM, "w": 3}),
                {**PROBLEM, "strides": [0, 0]},
            ]
        ),
        *({"operator": "conv9d_int8"}, {"decisions": {"flavour": 2}}),
        *({"decisions": {"tile": [999, 1, 1, 1]}}, {"decisions": {"tile": {"rows": [1]}}}),
        {"target": replace(MeasuredTarget.of(TARGET), features=("telepathy",))},
    ],
    ids=str,
)
def test_what_is_not_known_is_left_out(tasks, changes):
    good = record_of(tasks[0], (1, 0, 0))
    (found,) = groups_of(replace(good, **changes), good)
    assert found.seconds == [0.5]


@pytest.mark.parametrize("kind", ["build", "crash", "timeout", "wrong result"])
def test_failures_of_candidates_count(tasks, kind):
    (found,) = groups_of(failed(tasks[0], (1, 0, 0), kind), record_of(tasks[0], (0, 0, 0)))
    assert found.seconds == [float("inf"), 0.5]


@pytest.mark.parametrize("kind", ["device", "reference"])
def test_failures_of_others_do_not(tasks, kind):
    assert groups_of(failed(tasks[0], (1, 0, 0), kind)) == []


def test_default_decisions_may_be_missing(tasks):
    """As in records of an older space, which had fewer."""
    task = tasks[0]
    first = task.space.decisions[0]
    found = groups_of(
        record_of(task, (2, 0, 0), decisions={first.name: first.choices[2]}),
        record_of(task, (2, 0, 0)),
    )
    np.testing.assert_array_equal(*found[0].features)
    assert choices_of(task.space.decisions, task.space.chosen({})) == (0, 0, 0)


def test_only_so_many_are_learned_from(tasks, monkeypatch):
    monkeypatch.setattr(earlier, "MOST", 5)
    records = [record_of(task, (k, 0, 0)) for task in tasks for k in range(4)]
    assert sum(len(group.seconds) for group in groups_of(*records)) == 5
