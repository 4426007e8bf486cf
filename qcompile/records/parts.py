"""The parts of a tuning record, each valid or not made."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from qcompile.errors import InvalidRecord
from qcompile.targets import Target, VtaTarget

MODEL_DEVICES = "model:"  # how names of devices begin whose times are modelled
SIMULATOR = "sim"  # of VTA: its times are modelled, too
VTA = "vta"  # the architecture of what VTA runs
DEVICE_FAILURE = "device"  # the kind of failure that says nothing of the candidate
WRONG_RESULT = "wrong result"

# What decides whether times of one target hold for another.
TargetKey = tuple[str, str, int, frozenset[str]]


@dataclass(frozen=True)
class Failure:
    """Why a candidate has no times. `kind`: build, link, crash, wrong result, timeout, device…"""

    kind: str
    message: str

    def __post_init__(self) -> None:
        expect_text(self.kind, "failure.kind")
        expect(type(self.message) is str, "failure.message", self.message, "text")


@dataclass(frozen=True)
class Versions:
    """Which programs measured. Only `schedules` decides whether decisions still mean the same."""

    qcompile: str
    schedules: int
    tvm: str

    def __post_init__(self) -> None:
        expect_text(self.qcompile, "versions.qcompile")
        expect_count(self.schedules, "versions.schedules")
        expect_text(self.tvm, "versions.tvm")


@dataclass(frozen=True)
class MeasuredTarget:
    """What a kernel was compiled for, as far as its times depend on it."""

    name: str
    architecture: str
    mcpu: str
    features: tuple[str, ...]
    vector_bytes: int

    def __post_init__(self) -> None:
        for name in ("name", "architecture", "mcpu"):
            expect_text(getattr(self, name), f"target.{name}")
        expect_texts(self.features, "target.features")
        expect_count(self.vector_bytes, "target.vector_bytes")

    @classmethod
    def of(cls, target: Target | VtaTarget) -> MeasuredTarget:
        """Of VTA: its configuration's short name, and the bytes of its port."""
        if not isinstance(target, Target):
            return cls(target.name, VTA, target.config.name, (), target.port_bytes)
        architecture, mcpu = target.architecture.name, target.llvm["mcpu"]
        return cls(target.name, architecture, mcpu, target.features, target.vector_bytes)

    @cached_property
    def key(self) -> TargetKey:
        """Equal for targets whose records serve each other, by whatever names."""
        return self.architecture, self.mcpu, self.vector_bytes, frozenset(self.features)


def expect(fact: bool, name: str, found: Any, wanted: str) -> None:
    """Raise InvalidRecord unless `fact`, naming the field, what it holds and what it should."""
    if not fact:
        shown = repr(found)
        raise InvalidRecord(f"{name} = {shown[:60]}{'…' * (len(shown) > 60)}: expected {wanted}")


def expect_text(value: Any, name: str) -> None:
    expect(type(value) is str and value != "", name, value, "text")


def expect_count(value: Any, name: str) -> None:
    expect(type(value) is int and value > 0, name, value, "a whole number above 0")


def expect_texts(values: Any, name: str) -> None:
    texts = isinstance(values, tuple) and all(type(value) is str and value for value in values)
    expect(texts, name, values, "a list of texts")


def expect_names(fields: Any, names: Collection[str], where: str) -> None:
    """Raise InvalidRecord unless `fields` is a mapping with exactly these keys."""
    expect(isinstance(fields, dict), where, fields, "an object")
    if fields.keys() != set(names):
        missing = [name for name in names if name not in fields]
        unknown = [name for name in fields if name not in names]
        lacks = f"lacks {', '.join(missing)}" if missing else f"has unknown {', '.join(unknown)}"
        raise InvalidRecord(f"{where}: {lacks[:200]}")
