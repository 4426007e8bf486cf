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
        places = self._places(x.shape[2:])
        if any(before or after for before, after in self.pads):
            x = np.pad(x, ((0, 0), (0, 0), *self.pads), constant_values=fill)
        for place in places:
            yield x[place]

    def sums(self, pieces: Iterable[Array], shape: tuple[int, ...]) -> Array:
        """(N, C, *spatial), each value the sum over its places in `views`: their adjoint."""
        reach = [
            extent + before + after
            for extent, (before, after) in zip(shape[2:], self.pads, strict=True)
        ]
        total: Array | None = None
        for place, piece in zip(self._places(shape[2:]), pieces, strict=True):
            if total is None:
                total = np.zeros((*shape[:2], *reach), piece.dtype)
            total[place] += piece
        assert total is not None
        inner = [
            slice(before, before + extent)
            for extent, (before, _) in zip(shape[2:], self.pads, strict=True)
        ]
        return total[(slice(None), slice(None), *inner)]

    def _places(self, spatial: tuple[int, ...]) -> list[tuple[slice, ...]]:
        """Where each place in the kernel lies in padded data, over all windows."""
        counts = self.counts(spatial)
        found = []
        for place in product(*(range(k) for k in self.kernel)):
            starts = [p * d for p, d in zip(place, self.dilations, strict=True)]
            axes = zip(starts, counts, self.strides, strict=True)
            slices = [slice(a, a + (n - 1) * s + 1, s) for a, n, s in axes]
            found.append((slice(None), slice(None), *slices))
        return found


def columns(x: Array, windows: Windows, groups: int) -> Array:
    """(groups, C / groups * places, N * windows): one column for each window."""
    samples, channels = x.shape[:2]
    counts = windows.counts(x.shape[2:])
    places = prod(windows.kernel)
    found = np.empty((channels, places, samples, *counts), x.dtype)
    for place, view in enumerate(windows.views(x, 0.0)):
        found[:, place] = view.swapaxes(0, 1)
    return found.reshape(groups, channels // groups * places, samples * prod(counts))


def from_columns(found: Array, windows: Windows, shape: tuple[int, ...]) -> Array:
    """(N, C, *spatial), each value the sum over its places in `columns`: their adjoint."""
    samples, channels = shape[:2]
    counts = windows.counts(shape[2:])
    pieces = found.reshape(channels, prod(windows.kernel), samples, *counts).swapaxes(0, 1)
    return windows.sums(pieces, (channels, samples, *shape[2:])).swapaxes(0, 1)


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
