"""Plans layers: tiles, their order and their place on chip, chosen by the cycle model."""

from qcompile.targets.vta.planner.segment import plan_segment

__all__ = ["plan_segment"]
