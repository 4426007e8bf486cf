"""Plans layers: tiles, their order and their place on chip, chosen by the cycle model."""

from qcompile.targets.vta.planner.choice import chosen, space, timeline
from qcompile.targets.vta.planner.emit import plan_of
from qcompile.targets.vta.planner.problem import problem_from, problem_text
from qcompile.targets.vta.planner.segment import plan_segment, problem_of

__all__ = [
    "chosen",
    "plan_of",
    "plan_segment",
    "problem_from",
    "problem_of",
    "problem_text",
    "space",
    "timeline",
]
