"""Read what kernels cost on a target.

A kernel's time is modelled as

    call_s + steps * step_s + outputs * output_s + far_bytes * far_byte_s

step: one instruction sequence on vectors (a dot product of four bytes a lane; the count of one word
a lane for one pair of bit planes); output: a vector of sums that goes through the epilogue;
far_bytes: weights that do not stay in the second cache. Written by benchmarks/kernel_costs.py.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qcompile.targets.target import Target

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class KernelCost:
    """Seconds of one kernel family on one core."""

    step_s: float
    output_s: float
    call_s: float


@dataclass(frozen=True)
class Costs:
    """The kernels of a target. pack_s: one word of 32 codes to one plane."""

    int8: KernelCost
    bits: KernelCost
    pack_s: float
    far_byte_s: float
    source: str


def costs_of(target: Target) -> Costs:
    """The table of `target`, or of the named target that shares most of its instructions.

    Times of another target are scaled by the clocks; `source` says so.
    """
    own = FOLDER / f"{target.name}.toml"
    if own.exists():
        return read_costs(own)
    from qcompile.targets.loader import list_targets, load_target

    known = [load_target(name) for name in list_targets() if (FOLDER / f"{name}.toml").exists()]
    nearest = max(known, key=lambda other: _shared(other, target))
    table = read_costs(FOLDER / f"{nearest.name}.toml")
    return _scaled(table, nearest.clock_hz / target.clock_hz, f"{nearest.name}, by the clocks")


def read_costs(path: Path) -> Costs:
    fields: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    for name in ("int8", "bits"):
        fields[name] = KernelCost(**fields[name])
    return Costs(**fields)


def _shared(known: Target, target: Target) -> tuple[bool, int, int]:
    """Whether and how far code for `known` runs on `target`, best last."""
    mine, theirs = set(target.features), set(known.features)
    return known.vector_bytes == target.vector_bytes, len(mine & theirs), -len(theirs - mine)


def _scaled(costs: Costs, factor: float, source: str) -> Costs:
    def scaled(cost: KernelCost) -> KernelCost:
        return KernelCost(cost.step_s * factor, cost.output_s * factor, cost.call_s * factor)

    return Costs(
        int8=scaled(costs.int8),
        bits=scaled(costs.bits),
        pack_s=costs.pack_s * factor,
        far_byte_s=costs.far_byte_s * factor,
        source=f"{costs.source}; taken from {source}",
    )
