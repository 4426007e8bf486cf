"""The cost model learns made-up rules of how long candidates take."""

import itertools

import numpy as np
import pytest
from tuning_tasks import TARGET, network, tasks_in

from qcompile.schedules.space import Decision
from qcompile.tuning.choices import choices_of, decisions_of, expected_score
from qcompile.tuning.cost_model import CostModel, Measured

DECISIONS = (
    Decision("tile", ("a", "b", "c"), costs=(2.0, 1.0, 8.0)),
    Decision("order", ("data", "weights")),
    Decision("unroll", (1, 2, 4)),
)


@pytest.fixture(scope="module")
def task():
    (_, found) = tasks_in(network())
    return found


@pytest.fixture(scope="module")
def every(task):
    counts = [range(len(decision.choices)) for decision in task.space.decisions]
    return list(itertools.product(*counts))


def seconds(choices):
    """Later tiles, the other order and more splits take longer, by these parts of the time."""
    tile, order, split = choices
    return 1e-3 * np.exp(0.1 * tile + 0.5 * order + 0.1 * split)


def agreement(scores, times):
    """The part of the pairs of different times that the scores put into the right order."""
    scores, times = np.array(scores), np.array(times)
    faster = times[:, None] < times[None, :]
    return (scores[:, None] > scores[None, :])[faster].mean()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("unit", [1.0, 1e6])
def test_learns_a_rule_from_a_third(task, every, seed, unit):
    """Whatever the unit; the plan's own expectation knows neither order nor splits."""
    order = np.random.default_rng(seed).permutation(len(every))
    shown = [every[k] for k in order[: len(every) // 3]]
    hidden = [every[k] for k in order[len(every) // 3 :]]
    model = CostModel([task], TARGET, seed=seed)
    before = agreement(model.predict(0, hidden), [*map(seconds, hidden)])
    model.update(0, shown, [unit * seconds(each) for each in shown])
    after = agreement(model.predict(0, hidden), [*map(seconds, hidden)])
    assert after > 0.9 > before


def test_differences_of_scores_are_logarithms(task, every):
    model = CostModel([task], TARGET)
    model.update(0, every, [*map(seconds, every)])
    scores = model.predict(0, every)
    found = scores - scores.mean()
    expected = -np.log([*map(seconds, every)])
    # Trees of six levels, stopped after some rounds, do not reach each candidate: a few percent.
    assert np.abs(found - (expected - expected.mean())).mean() < 0.05


def test_failures_are_slower_than_all(task, every):
    failed = [choices for choices in every if choices[1]]
    timed = [choices for choices in every if not choices[1]]
    model = CostModel([task], TARGET)
    model.update(0, failed[::2], [None] * len(failed[::2]))
    model.update(0, timed[::2], [*map(seconds, timed[::2])])
    unseen = model.predict(0, failed[1::2])
    assert unseen.max() < np.median(model.predict(0, timed[1::2]))
    assert np.isfinite(unseen).all()


def test_nothing_but_failures_is_no_error(task, every):
    model = CostModel([task], TARGET)
    model.update(0, every[:4], [None] * 4)
    scores = model.predict(0, every)
    assert np.isfinite(scores).all()
    assert scores[:4].max() < model.expected(0, every[0])


def test_scores_are_expected_ones_at_first(task, every):
    model = CostModel([task], TARGET)
    assert not model.trained
    expected = [expected_score(task.space.decisions, choices) for choices in every]
    np.testing.assert_array_equal(model.predict(0, every), expected)
    assert expected[0] == max(expected) == 0


def test_expects_cheap_tiles_to_be_fast():
    scores = {c: expected_score(DECISIONS, (c, 0, 0)) for c in range(3)}
    assert scores[0] == 0
    # Half of the time, and a hundredth less for what is not the default; four times as long.
    assert scores[1] == pytest.approx(np.log(2) - 0.01)
    assert scores[2] == pytest.approx(-np.log(4) - 0.01)
    assert 0 > expected_score(DECISIONS, (0, 0, 1)) > expected_score(DECISIONS, (0, 0, 2))
    assert expected_score(DECISIONS, (1, 1, 2)) > expected_score(DECISIONS, (0, 0, 0))


def test_one_task_tells_of_another():
    """Learned of one, the order counts for the other, too."""
    tasks = tasks_in(network())
    model = CostModel(tasks, TARGET)
    counts = [range(len(decision.choices)) for decision in tasks[0].space.decisions]
    shown = list(itertools.product(*counts))
    tiles = range(len(tasks[1].space.decisions[0].choices))
    hidden = [(tile, order, 0) for tile in tiles for order in (0, 1)]
    times = [seconds(each) for each in hidden]
    before = agreement(model.predict(1, hidden), times)
    model.update(0, shown, [*map(seconds, shown)])
    assert agreement(model.predict(1, hidden), times) > before


def test_one_seed_predicts_the_same(task, every):
    scores = []
    for _ in range(2):
        model = CostModel([task], TARGET, seed=4)
        model.update(0, every[::3], [*map(seconds, every[::3])])
        scores.append(model.predict(0, every))
    np.testing.assert_array_equal(*scores)


def group_of(task, choices, times):
    model = CostModel([task], TARGET)
    group = Measured()
    for each, taken in zip(choices, times, strict=True):
        group.add(model.features(0, each), model.expected(0, each), taken)
    return group


def test_earlier_groups_shift_first_predictions(every):
    one, other = tasks_in(network())
    counts = [range(len(decision.choices)) for decision in one.space.decisions]
    shown = list(itertools.product(*counts))
    group = group_of(one, shown, [*map(seconds, shown)])
    cold, warm = CostModel([other], TARGET), CostModel([other], TARGET, [group])
    assert warm.trained and not cold.trained
    times = [*map(seconds, every)]
    assert agreement(warm.predict(0, every), times) > agreement(cold.predict(0, every), times)


def test_a_single_candidate_tells_nothing(task, every):
    """Only differences within a group count."""
    model = CostModel([task], TARGET, [group_of(task, every[:1], [1.0])])
    assert not model.trained


def test_own_measurements_outweigh_earlier_ones(task, every):
    """The same candidates, measured the other way round before."""
    group = group_of(task, every, [1 / seconds(each) for each in every])
    model = CostModel([task], TARGET, [group])
    times = [*map(seconds, every)]
    assert agreement(model.predict(0, every), times) < 0.5
    model.update(0, every, times)
    assert agreement(model.predict(0, every), times) > 0.8


def test_targets_are_the_expected_scores_on_average():
    group = Measured()
    for expected, taken in [(0.5, 1.0), (-0.5, 2.0), (0.3, None), (-1.2, 4.0)]:
        group.add(np.zeros(2, "float32"), expected, taken)
    found = group.targets()
    timed = found[[0, 1, 3]]
    assert timed.mean() == pytest.approx((0.5 - 0.5 - 1.2) / 3)
    np.testing.assert_allclose(-np.diff(timed), np.log(2))
    assert found[2] == timed.min() - 1


def test_choices_and_decisions_are_the_same(task, every):
    for choices in every:
        decisions = decisions_of(task.space, choices)
        assert task.space.has(decisions)
        assert choices_of(task.space.decisions, decisions) == choices
