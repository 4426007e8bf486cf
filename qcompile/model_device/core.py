"""What the model knows of a processor's core: a TOML file of targets/cores, by LLVM's name."""

import tomllib
from dataclasses import dataclass, fields, replace
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
    issue_width: instructions a cycle. ways: of each cache. latency_cycles, bytes_per_cycle: of each
    level behind the first, the last one is the memory; overlap: misses under way at a time.
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
        """The sets and ways of each cache of the target, which has as many as the core."""
        sizes = _cache_bytes(target)
        return [
            (size // self.line_bytes // ways, ways)
            for size, ways in zip(sizes, self.ways, strict=True)
        ]


def load_core(target: Target) -> Core:
    """The core of the target, with the caches that the target has.

    Raises ModelError, with what would work, when nothing is known of the core or of a cache.
    """
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
    levels, caches = len(core.ways), len(_cache_bytes(target))
    assert len(core.latency_cycles) == len(core.bytes_per_cycle) == levels, path
    if caches > levels:
        raise ModelError(
            f"model:{target.name}: it has {caches} levels of caches, the model of {name} {levels}: "
            "model a target with l3_bytes = 0"
        )
    return replace(
        core,
        ways=core.ways[:caches],
        latency_cycles=_without_last(core.latency_cycles, levels - caches),
        bytes_per_cycle=_without_last(core.bytes_per_cycle, levels - caches),
    )


def _cache_bytes(target: Target) -> list[int]:
    """The sizes of the caches that the target has."""
    return [size for size in (target.l1d_bytes, target.l2_bytes, target.l3_bytes) if size]


def _without_last(levels: tuple[float, ...], count: int) -> tuple[float, ...]:
    """What is told of levels, without so many of the last caches; the memory stays."""
    return (*levels[: len(levels) - 1 - count], levels[-1])
