"""What `solve` should find, by trying every assignment, in exact arithmetic."""

import itertools
from fractions import Fraction

HELD = 1 + Fraction(1, 10**9)  # documented: a total may exceed its budget by so much


def assignments(problem):
    """(choices, totals) of every assignment that keeps the groups."""
    layers = problem["layers"]
    for chosen in itertools.product(*[range(len(layer["choices"])) for layer in layers]):
        picked = [layer["choices"][k] for layer, k in zip(layers, chosen, strict=True)]
        if all(_agree(problem, picked, section) for section in ("same_bits", "same_w", "same_a")):
            yield chosen, _totals(problem, chosen, picked)


def keeps(totals, budget):
    """Whether all totals are within the budget."""
    return all(totals[name] <= Fraction(limit) * HELD for name, limit in budget.items())


def uses(totals, budget):
    """The sum of the totals' shares of their budgets."""
    return sum(totals[name] / Fraction(limit) for name, limit in budget.items())


def _agree(problem, picked, section):
    fields = {"same_bits": "wa", "same_w": "w", "same_a": "a"}[section]
    return all(
        len({tuple(picked[i][f] for f in fields) for i in group}) == 1
        for group in problem.get(section, [])
    )


def _totals(problem, chosen, picked):
    totals = {
        name: sum(Fraction(choice[name]) for choice in picked)
        for name in picked[0]
        if name not in ("w", "a", "kernel")
    }
    for pair in problem.get("pairs", []):
        one, other = pair["layers"]
        for name in set(pair) - {"layers"}:
            totals[name] += Fraction(pair[name][chosen[one]][chosen[other]])
    return totals
