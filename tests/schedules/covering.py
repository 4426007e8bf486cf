"""Fewer than all combinations: every value of each parameter, on some of the targets."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from qcompile.schedules.space import Decisions, Space


def on_targets(
    each: int, targets: Sequence[Any], names: str | tuple[str, ...], cases: Sequence[Any]
) -> pytest.MarkDecorator:
    """A parametrization in which each case runs on so many of the targets, far apart in the list.

    Every target has about as many of the cases; the fixture `target` takes their names.
    """
    several = not isinstance(names, str)
    found = []
    for number, case in enumerate(cases):
        for k in range(each):
            target = targets[(number + k * len(targets) // each) % len(targets)]
            name, marks = (
                (target, ()) if isinstance(target, str) else (*target.values, target.marks)
            )
            found.append(pytest.param(*(case if several else [case]), name, marks=marks))
    together = (*names, "target") if several else (names, "target")
    return pytest.mark.parametrize(together, found, indirect=["target"], ids=str)


def every_choice(space: Space, first: int, count: int) -> Iterator[Decisions]:
    """So many of endless combinations, from a first one.

    As many in a row as a decision has choices have all of them, in the order of the space; over
    some such rounds, two decisions have all pairs.
    """
    for k in range(first, first + count):
        yield {
            d.name: d.choices[(k + number * (k // len(d.choices))) % len(d.choices)]
            for number, d in enumerate(space.decisions)
        }
