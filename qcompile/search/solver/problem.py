"""Which widths each layer may take, and what each costs: what `solve` chooses from.

As JSON (or the same as Python objects), with every key that is accepted:

    {"layers": [{"name": "conv1", "choices": [CHOICE, ...]}, ...],
     "same_bits": [GROUP, ...],        layers that share both widths
     "same_w": [GROUP, ...],           layers that share the weights' width
     "same_a": [GROUP, ...],           layers that share the input's width
     "pairs": [{"layers": [LAYER, LAYER], "latency": MATRIX, ...}, ...],
     "tables": {"latency": TABLE, ...},
     "budgets": {"half": {"latency": 4.2}, ...},     carried along for the reader
     "network": TEXT, "units": {"latency": TEXT}, "optimum": ...}     not looked at

CHOICE   {"bits": 4} or {"w": 4, "a": 8}, widths from 1 to 32; "kernel": TEXT where several kernels
         offer the same widths; "sensitivity": any number; every other key is a cost, a number of at
         least 0. All choices of a problem have the same costs.
LAYER    a layer's name, or its place in "layers" from 0.
GROUP    a list of two or more layers. A width that one of them lacks is out for all.
MATRIX   what the neighbourhood adds to one cost: row i, column k for choice i of the first layer
         next to choice k of the second. The layers need not follow each other.
TABLE    one matrix per layer: row w - 1, column a - 1 holds the cost of the widths (w, a), null
         where it is unknown; or the name of a .npy file with that array, NaN where it is unknown
         (the form of HAQ's latency tables). A layer without "choices" takes every pair of widths
         that all tables know; then a table of "sensitivity" is needed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

SENSITIVITY = "sensitivity"


@dataclass(frozen=True)
class Choice:
    """Widths of a layer's weights and of its input; values: the sensitivity and every cost."""

    w: int
    a: int
    kernel: str | None
    values: Mapping[str, float]

    def __str__(self) -> str:
        return f"w{self.w}a{self.a}" + (f" ({self.kernel})" if self.kernel else "")


@dataclass(frozen=True)
class Layer:
    name: str
    choices: tuple[Choice, ...]


@dataclass(frozen=True)
class Group:
    """Layers, by place, that share the widths `shared`: some of "w" and "a"."""

    layers: tuple[int, ...]
    shared: tuple[str, ...]

    def key(self, choice: Choice) -> tuple[int, ...]:
        """The widths of a choice that all layers of the group must agree on."""
        return tuple(getattr(choice, name) for name in self.shared)


@dataclass(frozen=True)
class Pair:
    """What two layers, by place, cost together; values: (choices of one, choices of the other)."""

    layers: tuple[int, int]
    values: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Problem:
    """Layers with their choices, groups that share widths, and costs of neighbours."""

    layers: tuple[Layer, ...]
    groups: tuple[Group, ...] = ()
    pairs: tuple[Pair, ...] = ()
    budgets: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def quantities(self) -> list[str]:
        """The sensitivity and the costs, in the order of the first choice."""
        return list(self.layers[0].choices[0].values)

    def totals(self, chosen: Sequence[int]) -> dict[str, float]:
        """Every quantity of an assignment, given as one choice per layer; sums are exact."""
        picked = [layer.choices[k] for layer, k in zip(self.layers, chosen, strict=True)]
        return {
            name: math.fsum(
                [choice.values[name] for choice in picked]
                + [
                    float(pair.values[name][chosen[pair.layers[0]], chosen[pair.layers[1]]])
                    for pair in self.pairs
                    if name in pair.values
                ]
            )
            for name in self.quantities
        }

    def shares(self, chosen: Sequence[int]) -> bool:
        """Whether the layers of every group agree."""
        return all(
            len({group.key(self.layers[i].choices[chosen[i]]) for i in group.layers}) == 1
            for group in self.groups
        )
