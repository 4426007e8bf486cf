"""Read what kernels cost on a target.

A kernel's time on one core is modelled as

    call_s + steps * step_s + narrow_steps * narrow_step_s + loads * load_s + tiles * tile_s
        + sums * sum_s + outputs * output_s + near_bytes * near_byte_s + far_bytes * far_byte_s
        + read * read_s + packed * pack_s + copied * copy_s

with counts from qcompile.passes.kernel_work. Written by benchmarks/kernel_costs.py.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from qcompile.errors import UnknownTarget
from qcompile.targets.target import Target

FOLDER = Path(__file__).parent
KERNELS = ("conv2d_int8", "dense_int8", "dense_packed", "conv2d_bits", "dense_bits")
DATA = ("read_s", "pack_s", "copy_s")


@dataclass(frozen=True)
class KernelCost:
    """Seconds of one kernel family."""

    step_s: float
    narrow_step_s: float
    load_s: float
    tile_s: float
    sum_s: float
    output_s: float
    near_byte_s: float
    far_byte_s: float
    call_s: float


@dataclass(frozen=True)
class Costs:
    """The kernels of a target, by name.

    read_s and pack_s: 32 codes read, and made to a word of one plane; copy_s: a byte of data that
    gets a border.
    """

    kernels: Mapping[str, KernelCost]
    read_s: float
    pack_s: float
    copy_s: float
    source: str

    def to_toml(self) -> str:
        lines = [f"source = {json.dumps(self.source)}"]
        lines += [f"{name} = {getattr(self, name):.4g}" for name in DATA]
        for name, cost in self.kernels.items():
            lines += ["", f"[{name}]"]
            lines += [f"{field} = {value:.4g}" for field, value in asdict(cost).items()]
        return "\n".join(lines) + "\n"

    def because(self, reason: str) -> "Costs":
        """The same, with why they are taken."""
        return replace(self, source=f"{self.source}; {reason}")

    def scaled(self, factor: float, source: str) -> "Costs":
        """All times multiplied."""
        kernels = {
            name: KernelCost(**{key: factor * value for key, value in asdict(cost).items()})
            for name, cost in self.kernels.items()
        }
        data = {name: factor * getattr(self, name) for name in DATA}
        return Costs(kernels=kernels, source=source, **data)


def costs_of(target: Target) -> Costs:
    """The table of `target`, or of the named target that is nearest to it.

    That is one of its architecture that shares most of its instructions, of its `mcpu` where
    several do. Times of another target are scaled by the clocks; `source` says so.
    """
    own = FOLDER / f"{target.name}.toml"
    if own.exists():
        return read_costs(own)
    from qcompile.targets.loader import list_processors

    known = [known for known in list_processors() if (FOLDER / f"{known.name}.toml").exists()]
    nearest = max(known, key=lambda other: _shared(other, target))
    table = read_costs(FOLDER / f"{nearest.name}.toml")
    factor = nearest.clock_hz / target.clock_hz
    source = f"{nearest.name}'s, times {factor:.3g} for the clocks ({table.source})"
    return table.scaled(factor, source)


def _shared(known: Target, target: Target) -> tuple[bool, bool, int, int, bool]:
    """Whether and how far code for `known` runs on `target`, best last."""
    mine, theirs = set(target.features), set(known.features)
    return (
        known.architecture == target.architecture,
        known.vector_bytes == target.vector_bytes,
        *(len(mine & theirs), -len(theirs - mine)),
        known.llvm["mcpu"] == target.llvm["mcpu"],
    )


def read_costs(path: Path) -> Costs:
    """The table in a TOML file. Raises UnknownTarget where there is none, or a damaged one."""
    try:
        return parse_costs(path.read_bytes(), str(path))
    except OSError as error:
        raise UnknownTarget(f"{path}: cannot be read: {error.strerror}") from error


def parse_costs(content: bytes, where: str) -> Costs:
    """The table that a TOML file holds. Raises UnknownTarget, naming `where` it is."""
    try:
        return _costs(tomllib.loads(content.decode()))
    except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError, and ours
        raise UnknownTarget(f"{where}: no table of costs: {error}") from error


def _costs(table: dict[str, Any]) -> Costs:
    _expect(table, ("source", *DATA, *KERNELS), "the file")
    if not isinstance(table["source"], str) or not table["source"].strip():
        raise ValueError("source: expected where the numbers come from")
    kernels = {}
    for name in KERNELS:
        names = [field.name for field in fields(KernelCost)]
        _expect(table[name], names, f"[{name}]")
        kernels[name] = KernelCost(**{key: _seconds(table[name], key) for key in names})
    data = {name: _seconds(table, name) for name in DATA}
    return Costs(kernels=kernels, source=table["source"], **data)


def _expect(table: Any, names: tuple[str, ...] | list[str], where: str) -> None:
    if not isinstance(table, dict):
        raise ValueError(f"{where}: expected a table")
    if missing := [name for name in names if name not in table]:
        raise ValueError(f"{where}: lacks {', '.join(missing)}")
    if unknown := [name for name in table if name not in names]:
        raise ValueError(f"{where}: unknown {', '.join(unknown)}")


def _seconds(table: Mapping[str, Any], name: str) -> float:
    value = table[name]
    if type(value) not in (int, float) or not 0 <= value < 1:
        raise ValueError(f"{name} = {value!r}: expected seconds, from 0 to below 1")
    return float(value)
