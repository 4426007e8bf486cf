"""Read a target from its TOML file, and say what is wrong with the file when it is.

A file with a table [vta] describes a board with an accelerator (vta/target.py), the others a
processor. Every field is required, nothing else is accepted, and the fields must fit each other: a
kernel relies on them without asking again.
"""

import tomllib
from pathlib import Path
from typing import Any

from qcompile.errors import QCompileError, UnknownTarget
from qcompile.files import expect_regular
from qcompile.targets.architecture import Architecture
from qcompile.targets.architectures import ARCHITECTURES
from qcompile.targets.fields import expect_clock, expect_names, expect_source, suggest
from qcompile.targets.host import detect
from qcompile.targets.target import Target
from qcompile.targets.vta.target import VtaTarget, vta_target

FOLDER = Path(__file__).parent

INTEGERS = ("cores", "vector_bytes", "vector_registers", "l1d_bytes", "l2_bytes", "l3_bytes")
FIELDS = (*INTEGERS, "clock_hz", "features", "source", "target")
LLVM_FIELDS = ("kind", "mtriple", "mcpu")


def list_targets() -> list[str]:
    """The names that `load_target` knows, besides `host`."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_target(name: str) -> Target | VtaTarget:
    """The target of that name, of this machine (`host`), or of the TOML file at that path.

    Raises UnknownTarget, with the names that would work.
    """
    if name == "host":
        return host_target()
    if name.endswith(".toml"):
        return _read(Path(name))
    if name in list_targets():
        return _read(FOLDER / f"{name}.toml")
    raise UnknownTarget(f"no target {name!r}{suggest(name, [*list_targets(), 'host'])}")


def list_processors() -> list[Target]:
    """The named targets that are processors."""
    known = [load_target(name) for name in list_targets()]
    return [target for target in known if isinstance(target, Target)]


def list_boards() -> list[VtaTarget]:
    """The named targets that have a VTA accelerator."""
    known = [load_target(name) for name in list_targets()]
    return [target for target in known if isinstance(target, VtaTarget)]


def load_processor(name: str) -> Target:
    """The same as load_target for a processor; raises UnknownTarget for an accelerator too."""
    target = load_target(name)
    if isinstance(target, VtaTarget):
        raise UnknownTarget(
            f"{name}: a processor is needed here, and this is an accelerator "
            f"(known: {', '.join(known.name for known in list_processors())}, host)"
        )
    return target


def host_target() -> Target:
    """This machine, with the facts of the nearest named target where Linux tells none."""
    return detect(list_processors())


def _read(path: Path) -> Target | VtaTarget:
    try:
        expect_regular(path)
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UnknownTarget(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # tomllib.TOMLDecodeError and UnicodeDecodeError
        raise UnknownTarget(f"{path}: not a TOML file: {error}") from error
    try:
        if "vta" in fields:
            return vta_target(path.stem, fields, load_processor)
        return _target(path.stem, fields)
    except QCompileError as error:
        raise type(error)(f"{path}: {error}") from error


def _target(name: str, fields: dict[str, Any]) -> Target:
    expect_names(fields, FIELDS, "field")
    for field in INTEGERS:
        least = 0 if field == "l3_bytes" else 1  # some have no third cache
        if type(fields[field]) is not int or fields[field] < least:
            expected = "a positive integer" if least else "an integer, 0 or more"
            raise UnknownTarget(f"{field} = {fields[field]!r}: expected {expected}")
    clock_hz, source = expect_clock(fields), expect_source(fields)
    llvm = _llvm(fields["target"])
    family = ARCHITECTURES[llvm["mtriple"]]
    features = _features(fields["features"], family)
    _expect_vectors(fields["vector_bytes"], fields["vector_registers"], features, family)
    return Target(
        name=name,
        clock_hz=clock_hz,
        features=features,
        source=source,
        llvm=llvm,
        **{field: fields[field] for field in INTEGERS},
    )


def _features(names: Any, family: Architecture) -> tuple[str, ...]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UnknownTarget(f"features = {names!r}: expected a list of names")
    for name in names:
        if name not in family.features:
            raise UnknownTarget(f"unknown feature {name!r}{suggest(name, list(family.features))}")
    if missing := [name for name in family.baseline if name not in names]:
        raise UnknownTarget(f"features lack {', '.join(missing)}: kernels need {family.level}")
    return tuple(name for name in family.features if name in names)


def _llvm(fields: Any) -> dict[str, str]:
    if not isinstance(fields, dict):
        raise UnknownTarget(f"target = {fields!r}: expected a table")
    expect_names(fields, LLVM_FIELDS, "field of [target]")
    if fields["kind"] != "llvm":
        raise UnknownTarget(f"target.kind = {fields['kind']!r}: expected 'llvm'")
    triple = str(fields["mtriple"])
    if triple not in ARCHITECTURES:
        hint = suggest(triple, list(ARCHITECTURES))
        raise UnknownTarget(f"unknown target.mtriple {triple!r}{hint}")
    processors = ARCHITECTURES[triple].processors
    if fields["mcpu"] not in processors:
        hint = suggest(str(fields["mcpu"]), processors)
        raise UnknownTarget(f"unknown target.mcpu {fields['mcpu']!r}{hint}")
    return dict(fields)


def _expect_vectors(
    vector_bytes: int, registers: int, features: tuple[str, ...], family: Architecture
) -> None:
    for field, found, possible in (
        ("vector_bytes", vector_bytes, sorted({size for size, _ in family.vectors})),
        ("vector_registers", registers, sorted({count for _, count in family.vectors})),
    ):
        if found not in possible:
            expected = " or ".join(map(str, possible))
            raise UnknownTarget(f"{field} = {found}: expected {expected}")
    needed = family.vectors[vector_bytes, registers]
    if missing := [name for name in needed if name not in features]:
        raise UnknownTarget(
            f"{vector_bytes}-byte vectors in {registers} registers need {', '.join(missing)}"
        )
