"""Choose bit widths: exact solutions of budgeted choices."""

from qcompile.errors import Infeasible, InvalidProblem, Undecided
from qcompile.search.solver.problem import Problem
from qcompile.search.solver.reading import read_problem
from qcompile.search.solver.solution import Solution
from qcompile.search.solver.solve import solve

__all__ = [
    "Infeasible",
    "InvalidProblem",
    "Problem",
    "Solution",
    "Undecided",
    "read_problem",
    "solve",
]
