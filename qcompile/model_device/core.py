"""What the model knows of a processor's core: a TOML file of targets/cores, by LLVM's name."""

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import qcompile.targets
from qcompile.errors import ModelError
from qcompile.targets import Target

FOLDER = Path(qcompile.targets.__file__).parent / "cores"


@dataclass(frozen=True)
class Core:
    """A core and the memory behind it. Lists begin at the nearest level.

    schedule: llvm-mca's name of the scheduling model; emulated: qemu's of the processor.
    ways: of each cache. latency_cycles, bytes_per_cycle: of each level behind the first, the last
    one is the memory; overlap: misses under way at a time.
    """

    name: str
    schedule: str
    emulated: str
    issue_width: int
    line_bytes: int
    ways: tuple[int, ...]
    latency_cycles: tuple[float, ...]
    bytes_per_cycle: tuple[float, ...]
    overlap: float
    source: str

    def caches(self, target: Target) -> list[tuple[int, int]]:
        """The sets and ways of each cache of the target."""
        sizes = [target.l1d_bytes, target.l2_bytes, target.l3_bytes][: len(self.ways)]
        return [
            (size // self.line_bytes // ways, ways)
            for size, ways in zip(sizes, self.ways, strict=True)
        ]


def load_core(target: Target) -> Core:
    """The core of the target. Raises ModelError, with the names that would work."""
    name = str(target.llvm["mcpu"])
    path = FOLDER / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(path.stem for path in FOLDER.glob("*.toml")))
        raise ModelError(f"model:{target.name}: there is no model of {name} (known: {known})")
    found = tomllib.loads(path.read_text(encoding="utf-8"))
    expected = {field.name for field in fields(Core)} - {"name"}
    assert found.keys() == expected, f"{path}: fields are {sorted(expected ^ found.keys())}"
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}
    core = Core(name=name, **values)
    levels = len(core.ways)
    assert len(core.latency_cycles) == len(core.bytes_per_cycle) == levels, path
    return core
