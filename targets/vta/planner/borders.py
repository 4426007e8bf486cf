"""Where taps lie outside of the image: there LOAD fills in zeros, and a layer means nothing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from qcompile.targets.vta.layers import Integers, Segment, Source, Sums


def classes(layer: Sums, segment: Segment, axis: int) -> list[int]:
    """Where the rows (axis 0) or columns begin that have other taps inside than those before."""
    outputs = layer.output.shape[1 + axis]
    taps = [_inside(each, segment, axis, outputs) for each in layer.sources if each.zero]
    return [
        n for n in range(outputs) if n == 0 or any((each[n] != each[n - 1]).any() for each in taps)
    ]


def _inside(source: Source, segment: Segment, axis: int, outputs: int) -> npt.NDArray[np.bool]:
    """(outputs, taps): whether a tap of an axis is inside the image."""
    size = segment.tensor(source.tensor).shape[1 + axis]
    first = np.arange(outputs) * source.strides[axis] - source.padding[axis]
    places = first[:, None] + np.arange(source.weights.shape[1 + axis]) * source.dilation[axis]
    return (places >= 0) & (places < size)


def zero_terms(
    layer: Sums, segment: Segment, rows: list[int], columns: list[int], fill: int
) -> Integers:
    """(row classes, column classes, O filled up): what a zero of 0 would take from the sums."""
    total = np.zeros((len(rows), len(columns), len(layer.bias)), np.int64)
    for source in layer.sources:
        if source.zero:
            inside = [
                _inside(source, segment, axis, layer.output.shape[1 + axis])[starts]
                for axis, starts in enumerate((rows, columns))
            ]
            taps = source.weights.astype(np.int64).sum(axis=-1)
            total += source.zero * np.einsum("ru,cv,ouv->rco", *inside, taps)
    return np.pad(total, ((0, 0), (0, 0), (0, fill)))
