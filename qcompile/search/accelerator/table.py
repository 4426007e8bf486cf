"""What a network costs on one design, as a sum over its layers, and the best assignments.

A layer's cost is that of its widths and of the width that its follower reads: what it writes. Its
follower is the next layer in topological order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from qcompile.quantizer import Widths
from qcompile.search.accelerator.front import front_of_two

Floats = NDArray[np.float64]
MOST_POINTS = 4_000  # of a front between two layers: beyond, some are left out


@dataclass(frozen=True, eq=False)
class LayerTable:
    """One layer. cycles: (choices, widths of the follower's input); sensitivity: (choices,)."""

    name: str
    choices: tuple[Widths, ...]
    cycles: Floats
    sensitivity: Floats

    @property
    def inputs(self) -> tuple[int, ...]:
        """The widths that its input may have."""
        return inputs_of(self.choices)


def inputs_of(choices: Sequence[Widths]) -> tuple[int, ...]:
    """The widths of the input among choices, each once, rising."""
    return tuple(sorted({choice.activations for choice in choices}))


@dataclass(frozen=True, eq=False)
class Front:
    """Assignments that none beats in sensitivity and cycles, by rising sensitivity.

    picks: (points, layers), the place of each layer's choice. exact: whether it is all of them.
    """

    sensitivity: Floats
    cycles: Floats
    picks: NDArray[np.int64]
    exact: bool

    def of(self, places: NDArray[np.int64]) -> "Front":
        """Some of its points."""
        return replace(
            self,
            sensitivity=self.sensitivity[places],
            cycles=self.cycles[places],
            picks=self.picks[places],
        )


def best_assignments(layers: Sequence[LayerTable], most: int = MOST_POINTS) -> Front:
    """The assignments that none beats, from the last layer to the first.

    Of each layer, for each width of its input, those ways to go on are kept that none beats: what
    comes before depends on nothing else.
    """
    behind: dict[int | None, Front] = {
        None: Front(np.zeros(1), np.zeros(1), np.zeros((1, 0), np.int64), True)
    }
    following: Sequence[int | None] = [None]
    for layer in reversed(layers):
        found: dict[int | None, Front] = {}
        for width in layer.inputs:
            ways = [
                _before(layer, k, column, behind[after])
                for k, choice in enumerate(layer.choices)
                if choice.activations == width
                for column, after in enumerate(following)
            ]
            found[width] = _merged(ways, most)
        behind, following = found, layer.inputs
    return _merged(list(behind.values()), most)


def _before(layer: LayerTable, choice: int, column: int, rest: Front) -> Front:
    """A choice of a layer put before the assignments of what follows."""
    picks = np.insert(rest.picks, 0, choice, axis=1)
    return Front(
        rest.sensitivity + layer.sensitivity[choice],
        rest.cycles + layer.cycles[choice, column],
        picks,
        rest.exact,
    )


def _merged(ways: Sequence[Front], most: int) -> Front:
    """The best of several; where there are too many, evenly spread ones with both ends."""
    sensitivity = np.concatenate([way.sensitivity for way in ways])
    cycles = np.concatenate([way.cycles for way in ways])
    possible = np.flatnonzero(np.isfinite(cycles) & np.isfinite(sensitivity))
    kept = possible[front_of_two(sensitivity[possible], cycles[possible])]
    exact = all(way.exact for way in ways)
    if len(kept) > most:
        kept, exact = kept[np.linspace(0, len(kept) - 1, most).round().astype(int)], False
    picks = np.concatenate([way.picks for way in ways])
    return Front(sensitivity[kept], cycles[kept], picks[kept], exact)


def total(layers: Sequence[LayerTable], assignment: Mapping[str, Widths]) -> tuple[float, float]:
    """Sensitivity and cycles of one assignment, summed plainly."""
    sensitivity, cycles = 0.0, 0.0
    for number, layer in enumerate(layers):
        choice, column = layer.choices.index(assignment[layer.name]), 0
        if number + 1 < len(layers):
            following = layers[number + 1]
            column = following.inputs.index(assignment[following.name].activations)
        sensitivity += float(layer.sensitivity[choice])
        cycles += float(layer.cycles[choice, column])
    return sensitivity, cycles
