"""Which tiling a layer gets: that of fewest simulated cycles among promising ones and neighbours.

`space` names the decisions as the tuner knows them; its default is this choice.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from qcompile.errors import BufferTooSmall
from qcompile.schedules.space import Decision, Space, first
from qcompile.targets.vta.builder import Builder
from qcompile.targets.vta.config import Config
from qcompile.targets.vta.cycles import Timeline, simulate
from qcompile.targets.vta.image import Image
from qcompile.targets.vta.planner.decisions import choices, neighbours, tilings
from qcompile.targets.vta.planner.emit import Plan, any_immediates, emit, plan_of
from qcompile.targets.vta.planner.estimate import Estimate
from qcompile.targets.vta.planner.pool_estimate import PoolEstimate
from qcompile.targets.vta.planner.problem import Problem, SumsProblem
from qcompile.targets.vta.planner.tiles import ORDERS, Places, Tiling

SIMULATED = 8  # tilings, the most promising by estimate, before their neighbours
MOST_INSTRUCTIONS = 10_000  # that are simulated for one choice, about a second's
ANY_TENSOR = 1 << 28  # bytes: more than tensors have, where addresses only have to differ


@lru_cache(maxsize=1024)
def chosen(problem: Problem, config: Config, port_bytes: int) -> Tiling:
    """The tiling of fewest cycles. Raises BufferTooSmall where none fits."""
    estimate = estimate_of(problem, config, port_bytes)
    fitting = [each for each in tilings(problem, config) if estimate.fits(each)]
    search = _Search(problem, config, port_bytes)
    search.try_first(sorted(fitting, key=estimate.cycles))
    if not search.timed:
        # The smallest tile says what it lacks.
        plan_of(problem, config, Tiling(1, 1, 1, 1, "weights", 1))
        raise AssertionError(problem)
    search.descend()
    return search.best


def estimate_of(problem: Problem, config: Config, port_bytes: int) -> Estimate | PoolEstimate:
    """About how many cycles tilings take."""
    if isinstance(problem, SumsProblem):
        return Estimate(problem, config, port_bytes)
    return PoolEstimate(problem, config, port_bytes)


class _Search:
    """Tilings that were simulated, with their cycles."""

    def __init__(self, problem: Problem, config: Config, port_bytes: int) -> None:
        self.problem, self.config, self.port_bytes = problem, config, port_bytes
        self.timed: dict[Tiling, int] = {}
        self.instructions = 0

    @property
    def best(self) -> Tiling:
        return min(self.timed, key=self.timed.__getitem__)

    def try_first(self, ranked: list[Tiling]) -> None:
        """Simulates some, in their order, but no two that differ only in the order of tiles."""
        seen = set()
        for tiling in ranked:
            if len(self.timed) == SIMULATED or self.instructions > MOST_INSTRUCTIONS:
                return
            alike = replace(tiling, order=ORDERS[0])
            if alike not in seen:
                self._time(tiling)
            seen.add(alike)

    def descend(self) -> None:
        """Goes on from the best one to better neighbours, as long as there are some."""
        named, best = choices(self.problem, self.config), None
        while best != self.best:
            best = self.best
            for tiling in neighbours(best, named):
                if self.instructions > MOST_INSTRUCTIONS:
                    return
                if tiling not in self.timed:
                    self._time(tiling)

    def _time(self, tiling: Tiling) -> None:
        """Nothing where it does not fit."""
        try:
            plan = plan_of(self.problem, self.config, tiling)
        except BufferTooSmall:
            return
        found = timeline(plan, self.port_bytes)
        self.timed[tiling] = found.cycles
        self.instructions += len(found.spans)


def timeline(plan: Plan, port_bytes: int) -> Timeline:
    """A program of this layer alone, timed."""
    image = Image()
    builder = Builder(plan.config, image)
    operands = len(plan.problem.operands) if isinstance(plan.problem, SumsProblem) else 1
    inputs = tuple(image.reserve(ANY_TENSOR, 1) for _ in range(operands))
    places = Places(inputs, image.reserve(ANY_TENSOR, 1), "")
    emit(builder, plan, places, any_immediates(plan.problem))
    return simulate(plan.config, port_bytes, builder.finish())


def space(problem: Problem, config: Config, port_bytes: int) -> Space:
    """The decisions of a layer, the cycle model's own choice first. Raises BufferTooSmall."""
    default = chosen(problem, config, port_bytes)
    return Space(
        tuple(
            Decision(name, first(getattr(default, name), values))
            for name, values in choices(problem, config).items()
        )
    )
