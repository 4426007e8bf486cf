"""What `solve` finds: an assignment of widths with its sensitivity and costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qcompile.search.solver.problem import SENSITIVITY, Problem


@dataclass(frozen=True)
class Solution:
    """One assignment.

    bits: (weights, input) by layer. chosen: the place of the choice in the layer's list, by layer.
    costs: the total of every cost of the problem, neighbours included. optimal: whether no
    assignment within the budget is better; `bound` is what is proved: none is below it.
    """

    bits: Mapping[str, tuple[int, int]]
    chosen: Mapping[str, int]
    sensitivity: float
    costs: Mapping[str, float]
    optimal: bool
    bound: float

    def total(self, quantity: str) -> float:
        """The sensitivity, or the total of one cost."""
        return self.sensitivity if quantity == SENSITIVITY else self.costs[quantity]


def solution(problem: Problem, chosen: Sequence[int], optimal: bool, bound: float) -> Solution:
    """The assignment that takes one choice per layer."""
    totals = problem.totals(chosen)
    picked = {layer.name: k for layer, k in zip(problem.layers, chosen, strict=True)}
    choices = {layer.name: layer.choices[picked[layer.name]] for layer in problem.layers}
    return Solution(
        {name: (choice.w, choice.a) for name, choice in choices.items()},
        picked,
        totals.pop(SENSITIVITY),
        totals,
        optimal,
        bound,
    )
