"""What quantized operators compute, in NumPy: exact integers, then one float32 expression."""

from typing import Any

import numpy as np


def range_of(bits: int, signed: bool, narrow: bool = False) -> tuple[int, int]:
    """Lowest and highest code."""
    if signed:
        return -(1 << bits - 1) + narrow, (1 << bits - 1) - 1
    return 0, (1 << bits) - 1 - narrow


def codes(x: np.ndarray, scale: Any, zero: Any, low: int, high: int) -> np.ndarray:
    """clamp(rint(x / scale) + zero), int64."""
    return np.clip(np.rint(x / np.float32(scale)) + zero, low, high).astype("int64")


def values(q: np.ndarray, scale: Any, zero: Any = 0) -> np.ndarray:
    """(q - zero) * scale, float32."""
    centred = q.astype("int64") - np.asarray(zero, "int64")
    return centred.astype("float32") * np.asarray(scale, "float32")


def requantized(
    total: np.ndarray, ratio: Any, zero: int, low: int, high: int, offset: Any = None
) -> np.ndarray:
    """clamp(rint(float32(total) * ratio + offset) + zero): two roundings, not one."""
    value = total.astype("float32") * np.asarray(ratio, "float32")
    if offset is not None:
        value = value + np.asarray(offset, "float32")
    return np.clip(np.rint(value) + np.float32(zero), low, high).astype("int64")


def conv2d(
    x: np.ndarray,
    w: np.ndarray,
    *,
    strides: tuple[int, int] = (1, 1),
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """x (N, H, W, C) times w (O, KH, KW, C / groups), padded with 0: (N, OH, OW, O) int64."""
    top, left, bottom, right = padding
    image = np.pad(x.astype("int64"), ((0, 0), (top, bottom), (left, right), (0, 0)))
    outputs, kh, kw, depth = w.shape
    reach = [(k - 1) * d + 1 for k, d in zip((kh, kw), dilation, strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(image, reach, (1, 2))
    windows = windows[
        :, :: strides[0], :: strides[1], :, :: dilation[0], :: dilation[1]
    ]  # (N, OH, OW, C, KH, KW)
    filters = w.astype("int64").reshape(groups, outputs // groups, kh, kw, depth)
    grouped = windows.reshape(*windows.shape[:3], groups, depth, kh, kw)
    return np.einsum("nhwgcuv,gouvc->nhwgo", grouped, filters).reshape(*windows.shape[:3], outputs)


def last(x: np.ndarray) -> np.ndarray:
    """(N, C, H, W) with its channels last."""
    return x.transpose(0, 2, 3, 1)


def first(x: np.ndarray) -> np.ndarray:
    """(N, H, W, C) with its channels first."""
    return x.transpose(0, 3, 1, 2)
