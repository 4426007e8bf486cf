"""The assignment with the least of one quantity, other quantities being limited: proved.

HiGHS, which scipy.optimize.milp calls, works with absolute tolerances of 1e-6 that SciPy does not
let one set, so every number is brought to a scale where they mean little. From each quantity its
least value per block is taken away, what remains are *regrets*, at least 0. A limit leaves room for
regrets; a variable of a larger regret is fixed to 0, and the row is scaled so that the room is
ROW_SCALE. The objective is scaled by the largest regret that is possible, and where the answer's
is far below that, solved again among what can still be better.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from qcompile.errors import Undecided
from qcompile.search.solver.highs import OBJECTIVE_SCALE, ROW_SCALE, Answer, assign
from qcompile.search.solver.program import Program

NEAR = 1e-2  # an answer above this part of the largest regret is proved to 1e-9 of its regret
HELD = 1e-9  # a limit may be exceeded by this part of it: the rounding of sums


@dataclass(frozen=True)
class Regret:
    """A quantity as base + values @ variables, values of at least 0."""

    base: float
    values: NDArray[np.float64]


def regret(program: Program, values: NDArray[np.float64]) -> Regret:
    """Values less the least of each block: every assignment takes one variable per block."""
    least_values = [float(values[block].min()) for block in program.blocks]
    counts = [block.stop - block.start for block in program.blocks]
    return Regret(math.fsum(least_values), values - np.repeat(least_values, counts))


def largest(program: Program, values: NDArray[np.float64]) -> float:
    """No assignment has a larger sum of values."""
    return math.fsum(float(values[block].max()) for block in program.blocks)


def least(
    program: Program,
    objective: NDArray[np.float64],
    limits: Mapping[str, float],
    deadline_s: float | None,
) -> Answer | None:
    """The assignment of the least objective within the limits; None when there is none.

    deadline_s: of the monotonic clock; the best found by then is not proved optimal. Raises
    Undecided when there is none by then.
    """
    goal = regret(program, objective)
    free = np.ones(objective.size, bool)
    rows: list[NDArray[np.float64]] = []
    for name, limit in limits.items():
        row = regret(program, program.values[name])
        room = limit + abs(limit) * HELD / 2 - row.base
        if room < 0:
            return None
        free &= row.values <= room
        rows.append(row.values * (ROW_SCALE / room if room else 1.0))

    def within(ceiling: float) -> Answer | None:
        scale = OBJECTIVE_SCALE / ceiling if ceiling else 1.0
        possible = free & (goal.values <= ceiling)
        answer = assign(program, goal.values * scale, possible, rows, deadline_s)
        return answer and replace(answer, bound=goal.base + answer.bound / scale)

    def reached(answer: Answer) -> float:
        return math.fsum(goal.values[program.ones(answer.chosen)])

    return _refined(within, reached, largest(program, goal.values))


def least_factor(
    program: Program, limits: Mapping[str, float], deadline_s: float | None
) -> Answer | None:
    """The assignment that needs the smallest factor on all limits; None when groups forbid all."""
    parts = [program.values[name] / limit for name, limit in limits.items()]
    free = np.ones(parts[0].size, bool)
    factor = np.append(np.zeros(free.size), OBJECTIVE_SCALE)

    def within(ceiling: float) -> Answer | None:
        rows = [np.append(part, -ceiling) * (ROW_SCALE / ceiling) for part in parts]
        answer = assign(program, factor, free, rows, deadline_s, right=0.0)
        return answer and replace(answer, bound=answer.bound / OBJECTIVE_SCALE * ceiling)

    def reached(answer: Answer) -> float:
        taken = program.ones(answer.chosen)
        return max(math.fsum(part[taken]) for part in parts)

    return _refined(within, reached, max(largest(program, part) for part in parts))


def _refined(
    within: Callable[[float], Answer | None], reached: Callable[[Answer], float], ceiling: float
) -> Answer | None:
    """The answer below a ceiling, looked for again below itself while it is far below."""
    best = within(ceiling)
    while best is not None and best.optimal and 0 < reached(best) < NEAR * ceiling:
        ceiling = reached(best)
        try:
            better = within(ceiling)
        except Undecided:
            better = None
        if better is None or not better.optimal:
            return replace(best, optimal=False)  # time ran out: the gap is that of the scale before
        best = better
    return best
