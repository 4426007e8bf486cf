"""What may be decided about a layer: the fields of `Tiling`, and their combinations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

from qcompile.schedules.space import Decisions, Value
from qcompile.targets.vta.config import Config
from qcompile.targets.vta.planner.problem import Problem, SumsProblem
from qcompile.targets.vta.planner.tiles import ORDERS, Order, Tiling


def sizes(extent: int) -> list[int]:
    """Sizes that cut an extent into equal parts, as far as this goes; the largest first."""
    return sorted({-(-extent // parts) for parts in range(1, extent + 1)}, reverse=True)


def choices(problem: Problem, config: Config) -> dict[str, list[Value]]:
    """By the name of each decision, what it may be: the fields of `Tiling`."""
    _, height, width, channels = problem.output
    inputs, orders = [1], list[Order](["weights"])
    if isinstance(problem, SumsProblem):
        inputs = sizes(max(-(-each.shape[2] // config.block_in) for each in problem.operands))
        orders = [*ORDERS]
    return {
        "rows": [*sizes(height)],
        "columns": [*sizes(width)],
        "outputs": [*sizes(-(-channels // config.block_out))],
        "inputs": [*inputs],
        "order": [*orders],
        "threads": [2, 1],
    }


def tiling_of(decisions: Decisions) -> Tiling:
    """The tiling of all decisions."""
    return Tiling(**decisions)  # type: ignore[arg-type]


def tilings(problem: Problem, config: Config) -> Iterator[Tiling]:
    """All combinations of decisions, whether they fit or not."""
    named = choices(problem, config)
    for values in product(*named.values()):
        yield tiling_of(dict(zip(named, values, strict=True)))


def neighbours(tiling: Tiling, named: dict[str, list[Value]]) -> Iterator[Tiling]:
    """The tilings that differ in one decision, by one choice."""
    for name, values in named.items():
        place = values.index(getattr(tiling, name))
        for other in (place - 1, place + 1):
            if 0 <= other < len(values):
                change: dict[str, Any] = {name: values[other]}
                yield replace(tiling, **change)
