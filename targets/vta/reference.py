"""What a segment computes, in exact integers: the formula of `layers` with NumPy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from qcompile.targets.vta.layers import (
    Integers,
    MaxPool,
    Pads,
    Segment,
    Source,
    Sums,
    VtaTensor,
)


def reference(segment: Segment, inputs: Mapping[str, Integers]) -> dict[str, Integers]:
    """By name, the stored values or sums of all tensors, int64 (N, H, W, C)."""
    values: dict[str, Integers] = {name: value.astype(np.int64) for name, value in inputs.items()}
    for layer in segment.layers:
        if isinstance(layer, MaxPool):
            values[layer.output.name] = _largest(layer, values)
        else:
            values[layer.output.name] = _sums(layer, values)
    return values


def _largest(layer: MaxPool, values: Mapping[str, Integers]) -> Integers:
    x, lowest = values[layer.tensor], np.iinfo(np.int64).min
    windows = _windows(x, layer.output, layer.kernel, layer.strides, layer.padding, (1, 1), lowest)
    largest: Integers = windows.max(axis=(-2, -1))
    return largest


def _sums(layer: Sums, values: Mapping[str, Integers]) -> Integers:
    sums = sum(_products(each, values[each.tensor], layer.output) for each in layer.sources)
    acc = (sums << layer.lift) + layer.bias.astype(np.int64)
    shift = np.asarray(layer.shift, np.int64)
    multiples = [acc >> amounts for amounts in layer.terms] or [(1 << shift) >> 1]
    shifted = ((acc + sum(multiples)) >> shift) + layer.zero_out
    if layer.output.dtype == "sums":
        return shifted
    return np.clip(shifted, layer.low, layer.high)


def _products(source: Source, x: Integers, output: VtaTensor) -> Integers:
    """(N, H, W, O): values outside of the image are the zero."""
    weights = source.weights.astype(np.int64)
    kernel = (weights.shape[1], weights.shape[2])
    geometry = (kernel, source.strides, source.padding, source.dilation)
    windows = _windows(x - source.zero, output, *geometry, 0)
    products: Integers = np.einsum("nijcuv,ouvc->nijo", windows, weights, optimize=True)
    return products


def _windows(
    x: Integers,
    output: VtaTensor,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    padding: Pads,
    dilation: tuple[int, int],
    outside: int,
) -> Integers:
    """A view (N, rows, columns, C, KH, KW) of the values that each output sees."""
    extents = [(kernel[a] - 1) * dilation[a] + 1 for a in (0, 1)]
    ends = [
        max(0, (output.shape[1 + a] - 1) * strides[a] + extents[a] - padding[a] - x.shape[1 + a])
        for a in (0, 1)
    ]
    fill = ((0, 0), (padding[0], ends[0]), (padding[1], ends[1]), (0, 0))
    padded = np.pad(x, fill, constant_values=outside)
    views = np.lib.stride_tricks.sliding_window_view(padded, extents, (1, 2))
    taken = views[:, :: strides[0], :: strides[1], :, :: dilation[0], :: dilation[1]]
    return taken[:, : output.shape[1], : output.shape[2]]
