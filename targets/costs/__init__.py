"""What the kernels of a target cost: measured tables, one TOML file a target."""

from qcompile.targets.costs.table import Costs, KernelCost, costs_of

__all__ = ["Costs", "KernelCost", "costs_of"]
