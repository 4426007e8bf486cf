"""LOADs of a window of an image with padding of any size."""

from __future__ import annotations

from itertools import pairwise

from qcompile.targets.vta.builder import Builder
from qcompile.targets.vta.config import Buffer
from qcompile.targets.vta.planner.tiles import Window

LARGEST_PAD = 15
LARGEST_ROW = (1 << 16) - 1


def load_window(
    builder: Builder,
    place: int,
    address: int,
    image: tuple[int, int],
    blocks: tuple[int, ...],
    seen: Window,
) -> None:
    """Loads the window of each block of channels, one behind the other; zeros outside.

    address: of the image's first block. image: (height, width).
    """
    size = builder.config.element_bytes(Buffer.INP)
    whole = seen == Window(0, image[0], 1, 0, image[1])
    together = all(b == a + 1 for a, b in pairwise(blocks))
    if whole and together and len(blocks) * seen.elements <= LARGEST_ROW:
        first = address + blocks[0] * seen.elements * size
        builder.load(Buffer.INP, place, first, (1, len(blocks) * seen.elements))
        return
    for number, block in enumerate(blocks):
        first = address + block * image[0] * image[1] * size
        _load_block(builder, place + number * seen.elements, first, image, seen)


def _load_block(
    builder: Builder, place: int, address: int, image: tuple[int, int], seen: Window
) -> None:
    height, width = image
    above = min(max(0, -(seen.row // seen.row_step)), seen.rows)
    rows = max(0, min(seen.rows, -(-(height - seen.row) // seen.row_step)) - above)
    left = min(max(0, -seen.column), seen.columns)
    columns = max(0, min(seen.columns, width - seen.column) - left)
    if rows == 0 or columns == 0:
        _load_zeros(builder, place, seen.rows, seen.columns)
        return
    right, below = seen.columns - left - columns, seen.rows - above - rows
    first_row, first_column = seen.row + above * seen.row_step, seen.column + left
    size = builder.config.element_bytes(Buffer.INP)
    first = address + (first_row * width + first_column) * size
    stride, pitch = width * seen.row_step, seen.columns
    if max(left, right) > LARGEST_PAD:
        _load_zeros(builder, place, above, pitch)
        for row in range(rows):
            begin = place + (above + row) * pitch
            _load_zeros(builder, begin, 1, left)
            builder.load(Buffer.INP, begin + left, first + row * stride * size, (1, columns))
            _load_zeros(builder, begin + left + columns, 1, right)
        _load_zeros(builder, place + (above + rows) * pitch, below, pitch)
        return
    far_above, far_below = max(0, above - LARGEST_PAD), max(0, below - LARGEST_PAD)
    _load_zeros(builder, place, far_above, pitch)
    pads = (above - far_above, below - far_below, left, right)
    builder.load(Buffer.INP, place + far_above * pitch, first, (rows, columns), stride, pads)
    _load_zeros(builder, place + (seen.rows - far_below) * pitch, far_below, pitch)


def _load_zeros(builder: Builder, place: int, rows: int, columns: int) -> None:
    """Elements of zeros: the same row of zeros again and again."""
    if rows * columns:
        size = builder.config.element_bytes(Buffer.INP)
        address = builder.image.constant(("zeros", columns), columns * size, size)
        builder.load(Buffer.INP, place, address, (1, columns))
        for row in range(1, rows):
            builder.load(Buffer.INP, place + row * columns, address, (1, columns))
