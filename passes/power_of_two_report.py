"""What became of the scales of layers, as data and as a note in the module."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from tvm.ir import IRModule

REPORT = "qcompile.power_of_two"


@dataclass(frozen=True)
class Rescaled:
    """What became of the scale of one layer.

    shift: of the channels, from the least to the largest; () where the scale stays as it was, and
    `reason` says why. error: of the weights with their scale, relative to them; layer_error: the
    same with one shift for all channels.

    Where scales are sums of so many `powers` of two, shift is the exponent of the largest, and the
    errors are those of the scales: root of the mean square, and `largest_error` of one channel.
    """

    layer: str
    op: str
    shift: tuple[int, ...] = ()
    per_channel: bool = False
    error: float = 0.0
    layer_error: float = 0.0
    powers: int = 1
    largest_error: float = 0.0
    reason: str = ""


def noted(mod: IRModule, layers: Sequence[Rescaled]) -> IRModule:
    """The module with a note of the layers."""
    return mod.with_attr(REPORT, json.dumps([asdict(layer) for layer in layers]))


def rescaled_layers(mod: IRModule) -> tuple[Rescaled, ...]:
    """The layers that a module notes; () where it has no note."""
    attributes = mod.attrs or {}
    found = json.loads(str(attributes[REPORT])) if REPORT in attributes else []
    return tuple(Rescaled(**layer | {"shift": tuple(layer["shift"])}) for layer in found)
