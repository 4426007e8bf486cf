"""The step of a grid, from values."""

import numpy as np
from numpy.typing import NDArray

from qcompile.quantizer.grid import Array, Grid, Quantizer

SEEN = 2**17  # values that are looked at, evenly taken: more change no step noticeably
RATIOS = np.linspace(0.02, 1.0, 99)  # of the largest value, tried as the end of the range
SMALLEST = np.float32(2.0**-60)  # a step that is a normal float32, squares included


def fit_activations(chunks: list[Array], bits: int, ranges: str, percentile: float) -> Quantizer:
    """One step for all values of `chunks`; unsigned where none is negative.

    ranges: "minmax", "percentile" (of sizes), or "mse" (least mean squared error).
    """
    grid = Grid(bits, signed=min(float(chunk.min(initial=0)) for chunk in chunks) < 0)
    values = sample(chunks)
    if grid.bipolar:
        step = float(np.abs(values).mean())  # the best for the mean square
    elif ranges == "percentile":
        step = float(np.percentile(np.abs(values), percentile)) / grid.high
    else:
        step = max(_end(chunk, grid) for chunk in chunks)
        step = _least_error(values, grid, step) if ranges == "mse" else step
    return Quantizer(grid, np.maximum(np.float32(step), SMALLEST))


def sample(chunks: list[Array]) -> NDArray[np.float32]:
    """At most about SEEN values, evenly taken."""
    stride = max(sum(chunk.size for chunk in chunks) // SEEN, 1) | 1  # odd: no image's own period
    return np.concatenate([chunk.reshape(-1)[::stride] for chunk in chunks]).astype("float32")


def _end(values: Array, grid: Grid) -> float:
    """The smallest step with which no value is out of range."""
    above = float(values.max(initial=0)) / max(grid.high, 1)
    return max(above, float(values.min(initial=0)) / grid.low if grid.low else 0.0)


def _least_error(values: Array, grid: Grid, largest: float) -> float:
    steps = RATIOS * largest
    errors = [_error(values, Quantizer(grid, np.maximum(np.float32(s), SMALLEST))) for s in steps]
    return float(steps[int(np.argmin(errors))])


def _error(values: Array, quantizer: Quantizer) -> float:
    difference = quantizer(values) - values
    return float(np.dot(difference, difference))
