"""One call of HiGHS, by scipy.optimize.milp."""

import contextlib
import ctypes
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array, hstack

from qcompile.errors import Undecided
from qcompile.search.solver.program import Program

ROW_SCALE = 1e4  # of limits: a tolerance of 1e-6 is 1e-10 of them
OBJECTIVE_SCALE = 1e5  # of the largest objective: a gap of 1e-6 is 1e-11 of it
FEWEST_S = 1e-3  # to hand on: HiGHS takes 0 for no limit in some versions
OPTIMAL, STOPPED, INFEASIBLE = 0, 1, 2  # what milp calls status


@dataclass(frozen=True)
class Answer:
    """The choice of each layer; bound: no assignment has an objective below it."""

    chosen: list[int]
    optimal: bool
    bound: float


def assign(
    program: Program,
    objective: NDArray[np.float64],
    free: NDArray[np.bool_],
    rows: Sequence[NDArray[np.float64]],
    deadline_s: float | None,
    right: float = ROW_SCALE,
) -> Answer | None:
    """The assignment of the least objective, at least 0, with row @ variables <= right for all.

    Variables that are not free are 0. What objective and rows have more than the program are
    further variables, from 0 to 1. None: there is no assignment. Raises Undecided when the
    monotonic clock passes the deadline without one, or HiGHS fails.
    """
    more = objective.size - free.size
    whole = np.zeros(objective.size)
    whole[: free.size] = 1
    equality = hstack([program.equality, csr_array((program.right.size, more))], format="csr")
    constraints = [LinearConstraint(equality, program.right, program.right)]
    if rows:
        constraints.append(LinearConstraint(csr_array(np.array(rows)), -np.inf, right))
    options: dict[str, Any] = {"mip_rel_gap": 0.0}
    if deadline_s is not None:
        options["time_limit"] = max(deadline_s - time.monotonic(), FEWEST_S)
    with _stdout_left_alone():
        found = milp(
            objective,
            integrality=whole,
            bounds=Bounds(0, np.append(free, np.ones(more)).astype("float64")),
            constraints=constraints,
            options=options,
        )
    if found.status == INFEASIBLE:
        return None
    if found.x is None:
        raise Undecided(_why(found))
    bound = found.mip_dual_bound
    proved = max(0.0, float(bound)) if bound is not None and np.isfinite(bound) else 0.0
    return Answer(program.chosen(found.x), found.status == OPTIMAL, proved)


def _why(found: Any) -> str:
    if found.status == STOPPED:
        return "the solver: no assignment was found in the time given; more time would work"
    return f"the solver: HiGHS ended with {found.message!r}; please report the problem"


@contextlib.contextmanager
def _stdout_left_alone() -> Iterator[None]:
    """What C code prints goes to the standard error.

    HiGHS 1.12, in SciPy 1.17, prints a line of its debugging even when it is told to be silent
    (jump-dev/HiGHS.jl#312).
    """
    libc = ctypes.CDLL(None)
    libc.fflush(None)
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        libc.fflush(None)
        os.dup2(kept, 1)
        os.close(kept)
