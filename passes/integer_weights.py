"""Facts about constant integer weights: how they fit the kernels, and that sums fit an int32."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcompile.passes.facts import Codes

INT32_MAX = 2**31 - 1


@dataclass(frozen=True)
class Weights:
    """Weights w - zero with the output channels first.

    codes: (O, ...) int8; zero: (O,) what is still to be subtracted from every code (0 where the
    zero point could be taken into the codes); scale: (O,) float32.
    """

    codes: NDArray[np.int8]
    zero: NDArray[np.int64]
    scale: NDArray[np.float32]
    bits: int


def signed_weights(codes: Codes, array: NDArray[Any], axis: int) -> Weights | None:
    """Weights of a dequantize whose scale and zero point lie along `axis`, or None.

    array: the codes, with the output channels at `axis`; they come first in the result.
    """
    channels = array.shape[axis]
    if any(p.size not in (1, channels) for p in (codes.scale, codes.zero)):
        return None
    if not codes.per_tensor and codes.axis != axis:
        return None
    zero = np.broadcast_to(codes.zero.reshape(-1), (channels,)).astype("int64")
    values = np.moveaxis(array, axis, 0).astype("int64")
    spread = (channels,) + (1,) * (values.ndim - 1)
    centred = values - zero.reshape(spread)
    scale = np.broadcast_to(codes.scale.reshape(-1), (channels,)).astype("float32")
    if centred.min(initial=0) >= -128 and centred.max(initial=0) <= 127:
        return Weights(centred.astype("int8"), np.zeros_like(zero), scale, codes.bits)
    if array.dtype not in (np.int8, np.uint8):
        return None
    shift = 128 if array.dtype == np.uint8 else 0
    return Weights((values - shift).astype("int8"), zero - shift, scale, codes.bits)


def sums_fit(weights: Weights, largest: int) -> bool:
    """Whether sums of (codes - zero) times inputs of magnitude `largest` fit an int32."""
    reduced = tuple(range(1, weights.codes.ndim))
    spread = (-1,) + (1,) * len(reduced)
    magnitude = np.abs(weights.codes.astype("int64")).sum(axis=reduced)
    exact = np.abs(weights.codes - weights.zero.reshape(spread)).sum(axis=reduced)
    return bool(max(magnitude.max(initial=0), exact.max(initial=0)) * largest <= INT32_MAX // 2)


def largest_code(codes: Codes) -> int:
    """The largest |code - zero point| of activations."""
    low, high = (-128, 127) if codes.dtype == "int8" else (0, 255)
    zero = codes.zero_point
    return max(abs(low - zero), abs(high - zero), 255)
