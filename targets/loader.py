"""Read a target from its TOML file, and say what is wrong with the file when it is.

Every field is required, nothing else is accepted, and the fields must fit each other: a kernel
relies on them without asking again.
"""

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qcompile.errors import UnknownTarget
from qcompile.files import expect_regular
from qcompile.targets.architecture import Architecture
from qcompile.targets.architectures import ARCHITECTURES
from qcompile.targets.host import detect
from qcompile.targets.target import Target

FOLDER = Path(__file__).parent

INTEGERS = ("cores", "vector_bytes", "vector_registers", "l1d_bytes", "l2_bytes", "l3_bytes")
FIELDS = (*INTEGERS, "clock_hz", "features", "source", "target")
LLVM_FIELDS = ("kind", "mtriple", "mcpu")


def list_targets() -> list[str]:
    """The names that `load_target` knows, besides `host`."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_target(name: str) -> Target:
    """The target of that name, of this machine (`host`), or of the TOML file at that path.

    Raises UnknownTarget, with the names that would work.
    """
    if name == "host":
        return host_target()
    if name.endswith(".toml"):
        return _read(Path(name))
    if name in list_targets():
        return _read(FOLDER / f"{name}.toml")
    raise UnknownTarget(f"no target {name!r}{_suggest(name, [*list_targets(), 'host'])}")


def host_target() -> Target:
    """This machine, with the facts of the nearest named target where Linux tells none."""
    return detect([load_target(name) for name in list_targets()])


def _suggest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{hint} (known: {', '.join(known)})"


def _read(path: Path) -> Target:
    try:
        expect_regular(path)
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UnknownTarget(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # tomllib.TOMLDecodeError and UnicodeDecodeError
        raise UnknownTarget(f"{path}: not a TOML file: {error}") from error
    try:
        return _target(path.stem, fields)
    except UnknownTarget as error:
        raise UnknownTarget(f"{path}: {error}") from error


def _target(name: str, fields: dict[str, Any]) -> Target:
    _expect_names(fields, FIELDS, "field")
    for field in INTEGERS:
        least = 0 if field == "l3_bytes" else 1  # some have no third cache
        if type(fields[field]) is not int or fields[field] < least:
            expected = "a positive integer" if least else "an integer, 0 or more"
            raise UnknownTarget(f"{field} = {fields[field]!r}: expected {expected}")
    clock_hz = fields["clock_hz"]
    if type(clock_hz) not in (int, float) or not 0 < clock_hz < float("inf"):
        raise UnknownTarget(f"clock_hz = {clock_hz!r}: expected a positive number of hertz")
    if not isinstance(fields["source"], str) or not fields["source"].strip():
        raise UnknownTarget(f"source = {fields['source']!r}: expected where the facts come from")
    llvm = _llvm(fields["target"])
    family = ARCHITECTURES[llvm["mtriple"]]
    features = _features(fields["features"], family)
    _expect_vectors(fields["vector_bytes"], fields["vector_registers"], features, family)
    return Target(
        name=name,
        clock_hz=float(clock_hz),
        features=features,
        source=fields["source"],
        llvm=llvm,
        **{field: fields[field] for field in INTEGERS},
    )


def _expect_names(found: Mapping[str, Any], known: Sequence[str], what: str) -> None:
    for name in found:
        if name not in known:
            raise UnknownTarget(f"unknown {what} {name!r}{_suggest(name, known)}")
    for name in known:
        if name not in found:
            raise UnknownTarget(f"{what} {name!r} is missing")


def _features(names: Any, family: Architecture) -> tuple[str, ...]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UnknownTarget(f"features = {names!r}: expected a list of names")
    for name in names:
        if name not in family.features:
            raise UnknownTarget(f"unknown feature {name!r}{_suggest(name, list(family.features))}")
    if missing := [name for name in family.baseline if name not in names]:
        raise UnknownTarget(f"features lack {', '.join(missing)}: kernels need {family.level}")
    return tuple(name for name in family.features if name in names)


def _llvm(fields: Any) -> dict[str, str]:
    if not isinstance(fields, dict):
        raise UnknownTarget(f"target = {fields!r}: expected a table")
    _expect_names(fields, LLVM_FIELDS, "field of [target]")
    if fields["kind"] != "llvm":
        raise UnknownTarget(f"target.kind = {fields['kind']!r}: expected 'llvm'")
    triple = str(fields["mtriple"])
    if triple not in ARCHITECTURES:
        hint = _suggest(triple, list(ARCHITECTURES))
        raise UnknownTarget(f"unknown target.mtriple {triple!r}{hint}")
    processors = ARCHITECTURES[triple].processors
    if fields["mcpu"] not in processors:
        hint = _suggest(str(fields["mcpu"]), processors)
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
