"""Adds layers of any kind to a program."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from qcompile.targets.vta.builder import Builder
from qcompile.targets.vta.config import Config
from qcompile.targets.vta.image import Image
from qcompile.targets.vta.planner.pool import PoolEmitter
from qcompile.targets.vta.planner.pool_plan import PoolPlan
from qcompile.targets.vta.planner.problem import Immediates, PoolProblem, Problem, SumsProblem
from qcompile.targets.vta.planner.sums import SumsEmitter
from qcompile.targets.vta.planner.sums_plan import SumsPlan
from qcompile.targets.vta.planner.tiles import Places, Tiling
from qcompile.targets.vta.planner.whole import LARGEST_RIGHT_SHIFT

Plan: TypeAlias = SumsPlan | PoolPlan


def plan_of(problem: Problem, config: Config, tiling: Tiling) -> Plan:
    """Raises BufferTooSmall and NotRepresentable."""
    if isinstance(problem, SumsProblem):
        return SumsPlan(problem, config, tiling)
    return PoolPlan(problem, config, tiling)


def any_immediates(problem: Problem) -> Immediates | None:
    """Numbers for a program that is only timed; a pooling has none."""
    if isinstance(problem, PoolProblem):
        return None
    shift = problem.shift_parts * LARGEST_RIGHT_SHIFT
    return Immediates(
        start=1,
        least_start=1,
        left=1,
        shift=shift,
        low=0,
        high=1,
        lift=int(problem.lifted),
        terms=tuple(0 if vector else 1 for vector in problem.terms),
        zero_out=int(problem.zero_added),
    )


def emit(builder: Builder, plan: Plan, places: Places, immediates: Immediates | None) -> None:
    """Adds a layer. Its micro-ops are loaded at once, as a rehearsal tells which ones it has."""
    rehearsal = Builder(builder.config, Image())
    rehearsal.half = builder.half
    _run(rehearsal, plan, places, immediates)
    builder.preload(np.frombuffer(key, np.int64).reshape(-1, 3) for key in rehearsal.uops)
    builder.begin_layer()
    _run(builder, plan, places, immediates)


def _run(builder: Builder, plan: Plan, places: Places, immediates: Immediates | None) -> None:
    if isinstance(plan, PoolPlan):
        PoolEmitter(builder, plan, places).run()
    else:
        assert immediates is not None
        SumsEmitter(builder, plan, places, immediates).run()
