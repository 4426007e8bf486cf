"""Choose bit widths: exact solutions of budgeted choices."""

from qcompile.errors import Infeasible, InvalidProblem, Undecided
from qcompile.search.problem import Problem
from qcompile.search.reading import read_problem
from qcompile.search.solution import Solution
from qcompile.search.solve import solve

__all__ = [
    "Infeasible",
    "InvalidProblem",
    "Problem",
    "Solution",
    "Undecided",
    "read_problem",
    "solve",
]
