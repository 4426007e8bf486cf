"""What became of the comparison of one tensor, run by run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcompile.layerwise.grids import Grid
from qcompile.layerwise.ties import Rounded

Array = NDArray[Any]
FLOAT_ERROR = 1e-4  # of an output's range


@dataclass(frozen=True)
class Difference:
    """One value that is not the reference's.

    sample: the number of the sample, counted over batches; index: in the tensor, batch included;
    ours, reference: codes, or floats; tie: how far the reference's real value lies from where its
    code changes, in steps (ties.py); None where the file does not tell what is rounded.
    """

    sample: int
    index: tuple[int, ...]
    ours: float
    reference: float
    tie: float | None


@dataclass(frozen=True)
class LayerAgreement:
    """One tensor of the network, ours against the reference's.

    layers: the convolutions and products that it is the first to depend on, and their kernels;
    node: the one that makes it. For codes `difference` is the largest in steps, `tie` the farthest
    from a tie that a code differs. For floats `difference` is the largest over the output's range.
    disagreeing: differences that float rounding does not explain; first: the first of these, else
    the first at a tie.
    """

    name: str
    node: str
    layers: tuple[str, ...]
    kernels: tuple[str, ...]
    codes: bool
    elements: int
    different: int
    difference: float
    tie: float | None
    disagreeing: int
    first: Difference | None

    @property
    def agrees(self) -> bool:
        return self.disagreeing == 0


def summary(layers: Sequence[LayerAgreement]) -> str:
    """A sentence on all of them."""
    codes = [layer for layer in layers if layer.codes]
    different, total = sum(x.different for x in codes), sum(x.elements for x in codes)
    steps = max((layer.difference for layer in codes), default=0)
    tie = max((layer.tie or 0.0 for layer in codes), default=0)
    failed = [layer.name for layer in layers if not layer.agrees]
    verdict = f"DISAGREE: {', '.join(failed)}" if failed else "agree"
    told = f", by {steps:.0f}, at most {tie:.0e} of a step from a tie" if different else ""
    return f"{len(layers)} tensors {verdict}; {different} of {total} codes differ{told}"


class Tally:
    """Counts of one tensor over all runs, of `batch` samples each."""

    def __init__(self, grid: Grid | None, batch: int) -> None:
        self._grid, self._batch = grid, batch
        self.elements = self.different = self.disagreeing = self._runs = 0
        self.difference = 0.0
        self.tie: float | None = None
        self.first: Difference | None = None
        self._explained = True  # whether `first` is at a tie

    def add(self, ours: Array, reference: Array, rounded: Callable[[], Rounded | None]) -> None:
        """One run; `rounded` tells what the reference rounds, when codes differ."""
        self.elements += reference.size
        if self._grid is None:
            self._floats(ours, reference)
        else:
            self._codes(self._grid, ours, reference, rounded)
        self._runs += 1

    def _floats(self, ours: Array, reference: Array) -> None:
        same = (ours == reference) | (np.isnan(ours) & np.isnan(reference))
        a, b = ours.astype("float64"), reference.astype("float64")
        finite = b[np.isfinite(b)]
        spread = (np.ptp(finite) if finite.size else 0.0) or 1.0
        with np.errstate(invalid="ignore"):
            difference = np.nan_to_num(np.where(same, 0.0, np.abs(a - b)) / spread, nan=np.inf)
        wrong = difference > FLOAT_ERROR
        self.different += int((~same).sum())
        self.disagreeing += int(wrong.sum())
        self.difference = max(self.difference, float(difference.max(initial=0)))
        self._note(wrong, a, b, np.full(int(wrong.sum()), np.nan), explained=False)

    def _codes(
        self,
        grid: Grid,
        values: Array,
        expected: Array,
        rounded: Callable[[], Rounded | None],
    ) -> None:
        ours, reference = grid.codes(values), grid.codes(expected)
        where = ours != reference
        if not where.any():
            return
        steps = -(-np.abs(ours - reference)[where] // grid.step)
        self.different += int(where.sum())
        self.difference = max(self.difference, float(steps.max()))
        real = rounded()
        ties = np.full(steps.shape, np.nan)
        explained = np.zeros(steps.shape, bool)
        if real is not None:
            ties = real.distance(where, np.minimum(ours, reference)[where])
            self.tie = max(self.tie or 0.0, float(ties.max()))
            explained = (steps == 1) & (ties <= real.float_error)
        self.disagreeing += int((~explained).sum())
        wrong = where.copy()
        wrong[where] = ~explained
        self._note(wrong, ours, reference, ties[~explained], explained=False)
        self._note(where, ours, reference, ties, explained=True)

    def _note(
        self, where: Array, ours: Array, reference: Array, ties: Array, *, explained: bool
    ) -> None:
        """Keep the first difference; one that is not explained goes before one that is."""
        if not where.any() or (self.first is not None and explained >= self._explained):
            return
        index = tuple(int(i) for i in np.argwhere(where)[0])
        tie = None if np.isnan(ties[0]) else float(ties[0])
        self._explained = explained
        values = (ours[index].item(), reference[index].item())
        row = index[0] if ours.shape[:1] == (self._batch,) else 0
        self.first = Difference(self._runs * self._batch + row, index, *values, tie)
