"""Fewer than all combinations: every value of each parameter, on some of the targets."""

import functools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from qcompile.schedules.space import Decisions, Space
from qcompile.schedules.tunables import TUNABLES
from tests.schedules.kernels import int8_target


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
            first = number + number // len(targets)  # the same targets for no period of cases
            target = targets[(first + k * len(targets) // each) % len(targets)]
            if isinstance(target, str):
                target = pytest.param(target)
            values = *(case if several else [case]), *target.values
            found.append(pytest.param(*values, marks=target.marks))
    together = (*names, "target") if several else (names, "target")
    return pytest.mark.parametrize(together, found, indirect=["target"], ids=str)


@functools.cache
def shared_choices(
    problems: tuple[tuple[str, Any], ...], targets: tuple[str, ...], most: int
) -> dict[tuple[str, Any, str], list[Decisions]]:
    """Combinations for (operator, problem, target): together they have every choice there is.

    Each takes what the others have least of, of equals the rarest. most: how many on x86; one
    elsewhere, since emulators take longer.
    """
    spaces = {
        (operator, problem, name): TUNABLES[operator].space(problem, int8_target(name))
        for operator, problem in problems
        for name in targets
    }
    rng, taken, found = np.random.default_rng(0), Counter(), {}
    there = Counter(each for key, space in spaces.items() for each in choices(key, space))
    for key, space in spaces.items():
        x86 = int8_target(key[2]).architecture.name == "x86_64"
        found[key] = [{} for _ in range(most if x86 else 1)]
        for combination in found[key]:
            for decision in space.decisions:
                ranks = [
                    (taken[e], there[e], rng.random()) for e in choices(key, Space((decision,)))
                ]
                choice = decision.choices[ranks.index(min(ranks))]
                combination[decision.name] = choice
                taken[key[0], decision.name, choice] += 1
    return found


def untaken(
    problems: tuple[tuple[str, Any], ...], targets: tuple[str, ...], most: int
) -> set[tuple[str, str, Any]]:
    """(operator, decision, choice) that no combination has."""
    found = shared_choices(problems, targets, most)
    taken = {(k[0], *item) for k, each in found.items() for d in each for item in d.items()}
    spaces = {key: TUNABLES[key[0]].space(key[1], int8_target(key[2])) for key in found}
    return {choice for key, space in spaces.items() for choice in choices(key, space)} - taken


def choices(key: tuple[str, Any, str], space: Space) -> list[tuple[str, str, Any]]:
    """(operator, decision, choice) of the space."""
    return [(key[0], d.name, choice) for d in space.decisions for choice in d.choices]
