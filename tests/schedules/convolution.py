"""What a convolution is tested on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """x (N, H, W, C) before padding and what convolves it; pads: (top, left, bottom, right)."""

    data: tuple[int, int, int, int]
    outputs: int
    kernel: tuple[int, int] = (3, 3)
    pads: tuple[int, int, int, int] = (1, 1, 1, 1)
    strides: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
