"""Adds layers of any kind to a program."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from qcompile.targets.vta.config import Config
from qcompile.targets.vta.image import Image
from qcompile.targets.vta.planner.pool import PoolEmitter, PoolPlan
from qcompile.targets.vta.planner.problem import Problem, SumsProblem
from qcompile.targets.vta.planner.sums import SumsEmitter
from qcompile.targets.vta.planner.sums_plan import SumsPlan
from qcompile.targets.vta.planner.tiles import Places, Tiling
from qcompile.targets.vta.program import Builder

Plan: TypeAlias = SumsPlan | PoolPlan


def plan_of(problem: Problem, config: Config, tiling: Tiling) -> Plan:
    """Raises BufferTooSmall and NotRepresentable."""
    if isinstance(problem, SumsProblem):
        return SumsPlan(problem, config, tiling)
    return PoolPlan(problem, config, tiling)


def emit(builder: Builder, plan: Plan, places: Places) -> None:
    """Adds a layer. Its micro-ops are loaded at once, as a rehearsal tells which ones it has."""
    rehearsal = Builder(builder.config, Image())
    _run(rehearsal, plan, places)
    builder.preload(np.frombuffer(key, np.int64).reshape(-1, 3) for key in rehearsal.uops)
    builder.begin_layer()
    _run(builder, plan, places)


def _run(builder: Builder, plan: Plan, places: Places) -> None:
    if isinstance(plan, SumsPlan):
        SumsEmitter(builder, plan, places).run()
    else:
        PoolEmitter(builder, plan, places).run()
