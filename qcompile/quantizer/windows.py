"""Sliding windows: the columns that make a convolution a matrix product, and pools.

x: (N, C, *spatial). Windows have a kernel, strides, dilations and pads as in ONNX.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Windows:
    """Where windows lie. pads: (before, after) of each axis."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]

    @staticmethod
    def of(
        attributes: Mapping[str, Any], kernel: tuple[int, ...], spatial: tuple[int, ...]
    ) -> "Windows":
        """Those of a node of ONNX on data of the extents `spatial`."""
        rank = len(kernel)
        strides = tuple(attributes.get("strides", (1,) * rank))
        dilations = tuple(attributes.get("dilations", (1,) * rank))
        auto = attributes.get("auto_pad", b"NOTSET")
        auto = auto.decode() if isinstance(auto, bytes) else auto
        if auto.startswith("SAME"):
            pads = []
            for extent, k, stride, dilation in zip(
                spatial, kernel, strides, dilations, strict=True
            ):
                reach = (-(-extent // stride) - 1) * stride + (k - 1) * dilation + 1
                less = max(reach - extent, 0) // 2
                more = max(reach - extent, 0) - less
                pads.append((less, more) if auto == "SAME_UPPER" else (more, less))
        else:
            flat = (0,) * 2 * rank if auto == "VALID" else attributes.get("pads", (0,) * 2 * rank)
            pads = list(zip(flat[:rank], flat[rank:], strict=True))
        return Windows(kernel, strides, dilations, tuple(pads))

    def counts(self, spatial: tuple[int, ...]) -> tuple[int, ...]:
        """How many windows there are along each axis."""
        return tuple(
            (extent + before + after - (k - 1) * dilation - 1) // stride + 1
            for extent, (before, after), k, dilation, stride in zip(
                spatial, self.pads, self.kernel, self.dilations, self.strides, strict=True
            )
        )

    def views(self, x: Array, fill: float) -> Iterator[Array]:
        """For each place in the kernel the values there in all windows: (N, C, *counts)."""
        spatial = x.shape[2:]
        if any(before or after for before, after in self.pads):
            x = np.pad(x, ((0, 0), (0, 0), *self.pads), constant_values=fill)
        for where in self.places(spatial):
            yield x[where]

    def places(self, spatial: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
        """For each place in the kernel where in padded data its values lie."""
        counts = self.counts(spatial)
        for place in product(*(range(k) for k in self.kernel)):
            starts = [p * d for p, d in zip(place, self.dilations, strict=True)]
            axes = zip(starts, counts, self.strides, strict=True)
            slices = [slice(a, a + (n - 1) * s + 1, s) for a, n, s in axes]
            yield (slice(None), slice(None), *slices)


def columns(x: Array, windows: Windows, groups: int) -> Array:
    """(groups, C / groups * places, N * windows): one column for each window."""
    samples, channels = x.shape[:2]
    counts = windows.counts(x.shape[2:])
    places = prod(windows.kernel)
    found = np.empty((channels, places, samples, *counts), x.dtype)
    for place, view in enumerate(windows.views(x, 0.0)):
        found[:, place] = view.swapaxes(0, 1)
    return found.reshape(groups, channels // groups * places, samples * prod(counts))


def scatter(parts: Iterable[Array], windows: Windows, shape: tuple[int, ...]) -> Array:
    """The sum, in data of `shape`, of what `parts` hold for each place in the kernel.

    It is `views` the other way; what falls on pads is left out.
    """
    spatial = shape[2:]
    padded = [n + sum(pads) for n, pads in zip(spatial, windows.pads, strict=True)]
    total = np.zeros((*shape[:2], *padded), "float32")
    for part, where in zip(parts, windows.places(spatial), strict=True):
        total[where] += part
    inner = [slice(pads[0], pads[0] + n) for n, pads in zip(spatial, windows.pads, strict=True)]
    return total[(slice(None), slice(None), *inner)]


def max_pool(x: Array, windows: Windows) -> Array:
    views = windows.views(x, -np.inf)
    found = next(views).copy()
    for view in views:
        np.maximum(found, view, out=found)
    return found


def average_pool(x: Array, windows: Windows, count_pads: bool) -> Array:
    total = sum(windows.views(x, 0.0))
    if count_pads:
        return np.asarray(total / np.float32(prod(windows.kernel)))
    ones = np.ones((1, 1, *x.shape[2:]), x.dtype)
    return np.asarray(total / sum(windows.views(ones, 0.0)))
