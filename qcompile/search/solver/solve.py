"""The best bit widths within a budget, exactly."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qcompile.errors import InvalidProblem
from qcompile.search.solver.infeasible import infeasible
from qcompile.search.solver.problem import SENSITIVITY, Problem
from qcompile.search.solver.program import program
from qcompile.search.solver.reading import read_budget, read_problem
from qcompile.search.solver.search import Search
from qcompile.search.solver.solution import Solution
from qcompile.search.solver.values import number


def solve(
    problem: Problem | Mapping[str, Any] | str | Path,
    budget: Mapping[str, float],
    *,
    minimise: str = SENSITIVITY,
    time_limit_s: float | None = None,
) -> Solution:
    """The assignment of widths with the least sensitivity that keeps the budget.

    problem: in the form that qcompile.search.solver.problem documents, or the path of such a file.
    budget: the largest total allowed of any costs, or of "sensitivity"; a total may exceed it by
    1e-9 of it, for the rounding of sums. minimise: "sensitivity" or a cost. Assignments that differ
    in it by less than 1e-9 of it are equals: of these the one is taken whose totals, as shares of
    their budgets, have the least sum (without a budget: as shares of the costs' largest totals).
    The same call gives the same answer.

    With a time limit the best assignment found may not be proved: `optimal` tells. Raises
    InvalidProblem; Infeasible with the nearest point; Undecided when time ran out without any.
    """
    checked = read_problem(problem)
    limits = read_budget(budget, checked.quantities)
    if minimise not in checked.quantities:
        raise InvalidProblem(
            f"minimise: found {minimise!r}; {', '.join(map(repr, checked.quantities))} would work"
        )
    deadline_s = None
    if time_limit_s is not None:
        deadline_s = time.monotonic() + number(time_limit_s, "time_limit_s", 0)
    search = Search(checked, program(checked), deadline_s)
    found = search.best(minimise, limits)
    if found is None:
        raise infeasible(search, minimise, limits)
    return found
