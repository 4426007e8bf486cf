"""Decisions as the cost model and the search have them: by the numbers of their choices."""

from collections.abc import Mapping, Sequence
from math import log
from typing import Any

from qcompile.schedules.space import Decision, Space

# What one choice further from the default is thought to cost where nothing is known.
NEXT_CHOICE = 0.01


def decisions_of(space: Space, choices: Sequence[int]) -> Mapping[str, Any]:
    """The decisions of these choices, given in the order of the space."""
    return {
        decision.name: decision.choices[chosen]
        for decision, chosen in zip(space.decisions, choices, strict=True)
    }


def choices_of(decisions: Sequence[Decision], chosen: Mapping[str, Any]) -> tuple[int, ...]:
    """The numbers of the choices."""
    return tuple(decision.choices.index(chosen[decision.name]) for decision in decisions)


def expected_score(decisions: Sequence[Decision], choices: Sequence[int]) -> float:
    """The logarithm of the speed that the plan expects of these choices, to that of the default."""
    score = 0.0
    for decision, chosen in zip(decisions, choices, strict=True):
        if decision.costs:
            score -= log(decision.costs[chosen] / decision.costs[0])
        score -= NEXT_CHOICE * (chosen > 0 if decision.costs else chosen)
    return score
