"""Devices as data: one TOML file each, read by `load_target`."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tvm

from qcompile.errors import UnknownTarget

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Target:
    """A processor to compile for. Sizes in bytes, clock in hertz."""

    name: str
    cores: int
    vector_bytes: int
    vector_registers: int
    l1d_bytes: int
    l2_bytes: int
    l3_bytes: int
    clock_hz: float
    features: tuple[str, ...]
    source: str
    llvm: Mapping[str, Any]

    def tvm_target(self) -> tvm.target.Target:
        return tvm.target.Target(dict(self.llvm))


def load_target(name: str) -> Target:
    """The target of that name, or of the TOML file at that path."""
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.exists():
        raise UnknownTarget(f"no target {name!r}")
    fields = tomllib.loads(path.read_text())
    llvm = fields.pop("target")
    features = tuple(fields.pop("features"))
    return Target(name=path.stem, features=features, llvm=llvm, **fields)
