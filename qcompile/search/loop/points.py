"""What is known of assignments of widths: one point for each that was tried."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from qcompile.quantizer import Widths
from qcompile.search.loop.material import Assignment

FLOAT = "float32"
DIGITS = 8  # of the hash that tells mixed assignments apart


@dataclass(frozen=True)
class OnDevice:
    """A point on one device, times in seconds of one inference.

    predicted_s: before it was measured; fitted_s: what the corrected model says of it now. round:
    in which it was chosen, 0 for those that the model begins with. spread: of repeated
    measurements, as a share of the median. status: "measured", or why it is not.
    """

    status: str
    predicted_s: float | None = None
    fitted_s: float | None = None
    measured_s: float | None = None
    spread: float | None = None
    round: int | None = None
    accuracy: float | None = None

    @property
    def error(self) -> float | None:
        """Of the prediction, as a share of what was measured."""
        if self.predicted_s is None or self.measured_s is None:
            return None
        return self.predicted_s / self.measured_s - 1

    def to_json(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "predicted_ms": _milliseconds(self.predicted_s),
            "fitted_ms": _milliseconds(self.fitted_s),
            "measured_ms": _milliseconds(self.measured_s),
            "spread": self.spread,
            "round": self.round,
            "accuracy": self.accuracy,
        }


@dataclass(frozen=True)
class Point:
    """One assignment (None: the float network), and what it is on each device, by its name.

    kind: float32, uniform, chosen, or fine-tuned.
    """

    name: str
    kind: str
    bits: Mapping[str, Widths] | None
    weight_bytes: int
    bops: int | None
    sensitivity: float | None = None
    on: Mapping[str, OnDevice] = field(default_factory=dict)

    def with_device(self, name: str, found: OnDevice) -> "Point":
        return replace(self, on={**self.on, name: found})

    def measured(self, device: str) -> bool:
        """Whether both its time and its accuracy are known there."""
        found = self.on.get(device)
        return found is not None and None not in (found.measured_s, found.accuracy)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind,
            "bits": None if self.bits is None else bits_to_json(self.bits),
            "weight_bytes": self.weight_bytes,
            "bops": self.bops,
            "sensitivity": self.sensitivity,
            "devices": {name: found.to_json() for name, found in self.on.items()},
        }


def bits_to_json(bits: Assignment) -> dict[str, dict[str, int]]:
    """The `layers` of a bits.json."""
    return {name: {"w": each.weights, "a": each.activations} for name, each in bits.items()}


def name_of(bits: Assignment, uniform: Mapping[str, Assignment]) -> str:
    """A short name: that of a uniform assignment, or "mixed-" and a hash."""
    for name, others in uniform.items():
        if dict(others) == dict(bits):
            return name
    text = json.dumps(bits_to_json(bits), sort_keys=True)
    return "mixed-" + hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else 1e3 * seconds
