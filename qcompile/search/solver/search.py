"""One problem being solved: every answer is checked against the problem itself."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from qcompile.errors import Undecided
from qcompile.search.solver.exact import HELD, largest, least, least_factor
from qcompile.search.solver.highs import Answer
from qcompile.search.solver.problem import SENSITIVITY, Problem
from qcompile.search.solver.program import Program
from qcompile.search.solver.solution import Solution, solution


@dataclass(frozen=True)
class Search:
    """A problem, its integer program, and until when to look (of the monotonic clock)."""

    problem: Problem
    program: Program
    deadline_s: float | None

    def best(self, minimise: str, limits: Mapping[str, float]) -> Solution | None:
        """The least of one quantity within limits; of equals, the one that uses them least."""
        first = self.least(minimise, limits)
        if first is None or not first.optimal:
            return first
        tied = {**limits, minimise: first.total(minimise)}
        try:
            answer = least(self.program, self._use(limits), tied, self.deadline_s)
        except Undecided:
            return first  # proved already: time ran out for choosing among equals
        if answer is None:
            return first
        chosen = self._checked(answer, tied)
        return replace(solution(self.problem, chosen, True, 0.0), bound=first.bound)

    def least(self, minimise: str, limits: Mapping[str, float]) -> Solution | None:
        """The least of one quantity within limits; None when there is none."""
        answer = least(self.program, self.program.values[minimise], limits, self.deadline_s)
        if answer is None:
            return None
        found = solution(self.problem, self._checked(answer, limits), answer.optimal, answer.bound)
        return replace(found, bound=found.total(minimise)) if found.optimal else found

    def least_factor(self, limits: Mapping[str, float]) -> Solution:
        """The assignment whose largest quotient of total and limit is least."""
        answer = least_factor(self.program, limits, self.deadline_s)
        assert answer is not None  # without limits there is an assignment
        return solution(self.problem, self._checked(answer, {}), answer.optimal, answer.bound)

    def _use(self, limits: Mapping[str, float]) -> NDArray[np.float64]:
        """By variable, the sum of the limited quantities' shares of their limits.

        Without limits: of all costs' shares of their largest totals.
        """
        values = self.program.values
        tops = limits or {
            name: largest(self.program, values[name]) for name in values if name != SENSITIVITY
        }
        zero = np.zeros_like(values[SENSITIVITY])
        return sum((values[name] / top for name, top in tops.items() if top), zero)

    def _checked(self, answer: Answer, limits: Mapping[str, float]) -> list[int]:
        """The choices, when they keep groups and limits. Raises Undecided."""
        totals = self.problem.totals(answer.chosen)
        broken = [n for n, limit in limits.items() if totals[n] > limit + abs(limit) * HELD]
        if broken or not self.problem.shares(answer.chosen):
            raise Undecided(
                f"the solver: HiGHS answered with an assignment that breaks "
                f"{broken[0] if broken else 'a group'!r}; please report the problem"
            )
        return answer.chosen
