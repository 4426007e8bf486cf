"""What the kernels of a target cost: tables, measured or modelled, one TOML file a target."""

from qcompile.targets.costs.table import (
    KERNELS,
    Costs,
    KernelCost,
    costs_of,
    parse_costs,
    read_costs,
)

__all__ = ["KERNELS", "Costs", "KernelCost", "costs_of", "parse_costs", "read_costs"]
