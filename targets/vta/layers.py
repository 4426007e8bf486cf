"""What the planner is given: layers on integers, as VTA can compute them.

A tensor is a blocked array of *stored* values: codes minus the tensor's offset, so that they are
signed. A `Sums` layer computes, for image n, row i, column j and output channel o,

    sum = over its sources, over taps (u, v) inside the image and channels c, of
          w[o, u, v, c] * (x[n, i * s_h + u * d_h - top, j * s_w + v * d_w - left, c] - zero)
    acc = (sum << lift) + bias[o]
    y   = clamp(((acc + 2^(shift[o] - 1)) >> shift[o]) + zero_out, low, high)

with no rounding term where the shift is 0; >> rounds toward minus infinity. x and y are stored
values. Where the output is of sums, y is int32 and is not clamped. With further terms d_1, d_2 ...
multiples of acc are added up, and the bias has the rounding term:

    y   = clamp(((acc + (acc >> d_1[o]) + (acc >> d_2[o]) ...) >> shift[o]) + zero_out, low, high)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Integers: TypeAlias = npt.NDArray[np.integer[Any]]
Pads: TypeAlias = tuple[int, int, int, int]


@dataclass(frozen=True)
class VtaTensor:
    """Stored values in low..high of shape (N, H, W, C); the code is the stored value + offset."""

    name: str
    shape: tuple[int, int, int, int]
    offset: int
    low: int
    high: int
    dtype: Literal["codes", "sums"] = "codes"


@dataclass(frozen=True, eq=False)
class Source:
    """One operand of a layer. weights: (O, KH, KW, C) over all channels, groups expanded.

    zero: the stored value that means 0. padding: (top, left, bottom, right).
    """

    tensor: str
    weights: Integers
    strides: tuple[int, int] = (1, 1)
    padding: Pads = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    zero: int = 0


@dataclass(frozen=True, eq=False)
class Sums:
    """The layer of the module's formula. bias: (O,); shift and each of the terms: one, or (O,)."""

    name: str
    sources: tuple[Source, ...]
    bias: Integers
    shift: int | Integers
    low: int
    high: int
    output: VtaTensor
    zero_out: int = 0
    lift: int = 0
    terms: tuple[int | Integers, ...] = ()


@dataclass(frozen=True)
class MaxPool:
    """The largest stored values of windows; outside of the image there is nothing."""

    name: str
    tensor: str
    kernel: tuple[int, int]
    strides: tuple[int, int]
    padding: Pads
    output: VtaTensor


Layer: TypeAlias = Sums | MaxPool


@dataclass(frozen=True)
class Segment:
    """Layers in the order they run. tensors: those that no layer of the segment makes."""

    name: str
    tensors: tuple[VtaTensor, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    layers: tuple[Layer, ...]

    def tensor(self, name: str) -> VtaTensor:
        """The tensor of that name, given or made by a layer."""
        made = (layer.output for layer in self.layers)
        return next(each for each in (*self.tensors, *made) if each.name == name)

    def alone(self, layer: Layer) -> Segment:
        """A segment of one of the layers."""
        read = [x.tensor for x in layer.sources] if isinstance(layer, Sums) else [layer.tensor]
        inputs = tuple(dict.fromkeys(read))
        tensors = tuple(self.tensor(name) for name in inputs)
        return Segment(layer.name, tensors, inputs, (layer.output.name,), (layer,))
