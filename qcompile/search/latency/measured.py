"""Times of whole networks, and the parts that their layers have in them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qcompile.search.latency.choice import Assignment, Choice

Call = tuple[str, float]


@dataclass(frozen=True)
class Reading:
    """One network on a device: seconds of an inference, how far rounds lie apart (a standard
    deviation), and the seconds of its kernel calls in order, each by its layer's name."""

    seconds: float
    spread_s: float
    calls: tuple[Call, ...]


@dataclass(frozen=True)
class LayerSeconds:
    """own_s: of the layer's kernel; prepare_s: of the calls before it that belong to no layer,
    which bring its input into the form that the kernel reads."""

    own_s: float
    prepare_s: float = 0.0

    @property
    def seconds(self) -> float:
        return self.own_s + self.prepare_s


@dataclass(frozen=True)
class Measured:
    """A whole network with its layers' choices; base_s: what is no call's, and may be negative
    where the clock was read around every call."""

    assignment: Assignment
    seconds: float
    spread_s: float
    per_layer: Mapping[str, LayerSeconds]

    @property
    def base_s(self) -> float:
        return self.seconds - sum(each.seconds for each in self.per_layer.values())

    def to_json(self) -> dict[str, Any]:
        return {
            "assignment": {name: each.to_json() for name, each in self.assignment.items()},
            "seconds": self.seconds,
            "spread_s": self.spread_s,
            "per_layer": {n: [e.own_s, e.prepare_s] for n, e in self.per_layer.items()},
        }

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> "Measured":
        return cls(
            {name: Choice.from_json(each) for name, each in held["assignment"].items()},
            float(held["seconds"]),
            float(held["spread_s"]),
            {name: LayerSeconds(*map(float, each)) for name, each in held["per_layer"].items()},
        )


def measured(assignment: Assignment, reading: Reading) -> Measured:
    """The reading, its calls given to the layers."""
    parts = divided(reading.calls, assignment)
    return Measured(assignment, reading.seconds, reading.spread_s, parts)


def divided(calls: Sequence[Call], layers: Iterable[str]) -> dict[str, LayerSeconds]:
    """The calls by layers: what is no layer's goes to the next one, at the end to the last."""
    found = dict.fromkeys(layers, LayerSeconds(0.0))
    waiting, last = 0.0, ""
    for name, seconds in calls:
        if name not in found:
            waiting += seconds
            continue
        before = found[name]
        found[name] = LayerSeconds(before.own_s + seconds, before.prepare_s + waiting)
        waiting, last = 0.0, name
    if last:
        found[last] = LayerSeconds(found[last].own_s + waiting, found[last].prepare_s)
    return found
