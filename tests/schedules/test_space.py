"""Spaces of decisions: what is chosen, what is refused, and what JSON does to it."""

import json
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcompile.errors import InvalidInput
from qcompile.schedules.space import (
    Decision,
    Space,
    UnknownDecision,
    chunks,
    divisors,
    first,
    from_json,
    frozen,
    to_json,
)

SPACE = Space(
    (
        Decision("tile", ((2, 4), (1, 8), (4, 4)), costs=(1.0, 2.0, 1.5)),
        Decision("order", ("data", "weights")),
        Decision("split", (1, 2, 4)),
        Decision("wide", (False, True)),
        Decision("chunks", ("outer", "none"), for_threads=True),
    )
)
DEFAULT = {"tile": (2, 4), "order": "data", "split": 1, "wide": False, "chunks": "outer"}

scalars = st.booleans() | st.integers(-100, 100) | st.text(max_size=3)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=5)


def typed(value):
    """The value with its types: Python's 1 equals True and 1.0."""
    return tuple(map(typed, value)) if isinstance(value, tuple) else (type(value), value)


@st.composite
def spaces(draw):
    names = draw(st.lists(st.text(min_size=1, max_size=4), max_size=4, unique=True))
    choices = st.lists(values, min_size=1, max_size=4, unique=True).map(tuple)
    return Space(tuple(Decision(n, draw(choices), draw(st.booleans())) for n in names))


@st.composite
def partly_decided(draw):
    """A space, and choices of some of its decisions."""
    space = draw(spaces())
    some = [decision for decision in space.decisions if draw(st.booleans())]
    return space, {each.name: draw(st.sampled_from(each.choices)) for each in some}


def test_the_default_is_the_first_choice():
    assert SPACE.chosen({}) == DEFAULT
    assert list(SPACE.chosen({})) == list(DEFAULT)


@given(partly_decided())
def test_chooses_what_is_given_and_defaults(case):
    space, given_ones = case
    expected = {d.name: given_ones.get(d.name, d.choices[0]) for d in space.decisions}
    assert space.chosen(given_ones) == expected
    assert space.has(expected)
    assert space.has(given_ones) == (len(given_ones) == len(space.decisions))


@given(partly_decided())
def test_json_changes_no_choice(case):
    space, given_ones = case
    read = json.loads(json.dumps(given_ones))
    chosen, again = space.chosen(given_ones), space.chosen(read)
    assert [*map(typed, chosen.values())] == [*map(typed, again.values())]


def test_gives_its_own_choice_for_an_equal_value():
    chosen = SPACE.chosen({"split": 2.0, "tile": [4.0, 4], "wide": 1})
    assert typed(chosen["split"]) == (int, 2)
    assert typed(chosen["tile"]) == ((int, 4), (int, 4))
    assert chosen["wide"] is True


@pytest.mark.parametrize(
    ("decisions", "message"),
    [
        ({"unrolled": 2}, "'unrolled': known are tile, order, split, wide, chunks"),
        ({"split": 3}, "'split': 3 is none of 1, 2, 4"),
        ({"split": None}, "'split': None is none of 1, 2, 4"),
        ({"tile": [2, 4, 1]}, r"'tile': \[2, 4, 1\] is none of \(2, 4\), \(1, 8\), \(4, 4\)"),
        ({"tile": {"rows": 2}}, "'tile': {'rows': 2} is none of"),
        ({"order": "both", "split": 2}, "'order': 'both' is none of data, weights"),
    ],
)
def test_refuses_other_decisions(decisions, message):
    with pytest.raises(UnknownDecision, match=message) as raised:
        SPACE.chosen(decisions)
    assert isinstance(raised.value, InvalidInput)
    assert not SPACE.has(DEFAULT | decisions)


def test_tells_of_more_choices_only_where_there_are_more():
    with pytest.raises(UnknownDecision, match=r"none of 1, 2, 4$"):
        SPACE.chosen({"split": 3})
    many = Space((Decision("split", tuple(range(20))),))
    with pytest.raises(UnknownDecision, match=r"none of 0, 1, 2, 3, 4, 5, 6, 7, …$"):
        many.chosen({"split": 20})


def test_has_only_whole_decisions():
    assert SPACE.has(DEFAULT) and SPACE.has(DEFAULT | {"tile": [1, 8]})
    assert not SPACE.has({}) and not SPACE.has(DEFAULT | {"more": 1})
    assert not any(SPACE.has({k: v for k, v in DEFAULT.items() if k != name}) for name in DEFAULT)


def test_one_thread_has_no_decisions_for_threads():
    assert SPACE.for_threads(1).decisions == SPACE.decisions[:-1]
    assert not SPACE.for_threads(1).has(DEFAULT)
    assert SPACE.for_threads(2) == SPACE


@given(spaces())
def test_counts_its_combinations(space):
    combinations = [()]
    for decision in space.decisions:
        combinations = [(*c, choice) for c in combinations for choice in decision.choices]
    names = [decision.name for decision in space.decisions]
    assert space.size == len(combinations)
    assert all(space.has(dict(zip(names, c, strict=True))) for c in combinations)
    one = space.for_threads(1)
    assert one.for_threads(1) == one.for_threads(2) == one
    assert [d for d in space.decisions if not d.for_threads] == list(one.decisions)


@given(st.integers(1, 2**20), st.integers(0, 2**12))
def test_divisors_are_powers_of_two(number, most):
    expected = [d for d in range(1, most + 1) if number % d == 0 and d.bit_count() == 1]
    assert divisors(number, most) == expected


@given(st.lists(st.integers(), max_size=6, unique=True), st.integers())
def test_the_default_comes_first_once(choices, default):
    found = first(default, choices)
    assert found[0] == default and len(set(found)) == len(found)
    assert set(found) == {default, *choices}
    assert list(found[1:]) == [choice for choice in choices if choice != default]


@pytest.mark.parametrize("default", ["none", "outer", "tiles"])
def test_chunks_are_for_threads(default):
    found = chunks(default)
    assert found.for_threads and found.choices[0] == default
    assert sorted(found.choices) == ["none", "outer", "tiles"]


@given(values)
def test_frozen_undoes_json(value):
    assert typed(frozen(json.loads(json.dumps(value)))) == typed(value)
    hash(frozen(json.loads(json.dumps([value]))))


@dataclass(frozen=True)
class Problem:
    shape: tuple[int, ...]
    pairs: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Plan:
    problem: Problem
    tile: tuple[int, ...]
    order: str
    wide: bool


numbers = st.lists(st.integers(), max_size=3).map(tuple)
pairs = st.lists(st.tuples(st.integers(), st.integers()), max_size=2).map(tuple)
plans = st.builds(
    Plan, st.builds(Problem, numbers, pairs), numbers, st.text(max_size=3), st.booleans()
)


@given(plans, plans)
def test_texts_tell_plans_apart(one, other):
    assert from_json(to_json(one), Plan, Problem) == one
    assert (to_json(one) == to_json(other)) == (one == other)
