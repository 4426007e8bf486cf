"""STOREs of a tile: as few and as long rows as its place in the image allows."""

from __future__ import annotations

from qcompile.targets.vta.builder import Builder
from qcompile.targets.vta.config import Buffer
from qcompile.targets.vta.planner.tiles import Tile

LARGEST_FIELD = (1 << 16) - 1  # of sizes and strides


def store_blocks(
    builder: Builder, base: int, address: int, image: tuple[int, int], tile: Tile
) -> None:
    """Stores dense output blocks. address: of the image's first block. image: (height, width)."""
    height, width = image
    size = builder.config.element_bytes(Buffer.OUT)
    corner = tile.outputs[0] * height * width + tile.rows[0] * width + tile.columns[0]
    first = address + corner * size
    if tile.width == width and tile.blocks == 1:
        builder.store(base, first, (1, tile.positions), tile.positions)
    elif tile.width == width and height * width <= LARGEST_FIELD:
        builder.store(base, first, (tile.blocks, tile.positions), height * width)
    else:
        for block in range(tile.blocks):
            begin = first + block * height * width * size
            builder.store(base + block * tile.positions, begin, (tile.height, tile.width), width)


def store_rows(
    builder: Builder,
    base: int,
    address: int,
    image: tuple[int, int],
    tile: Tile,
    pitch: int,
    block_pitch: int,
) -> None:
    """Stores output blocks row by row, where rows are `pitch` elements apart on chip."""
    height, width = image
    size = builder.config.element_bytes(Buffer.OUT)
    for block in range(tile.blocks):
        for row in range(tile.height):
            place = ((tile.outputs[0] + block) * height + tile.rows[0] + row) * width
            begin = address + (place + tile.columns[0]) * size
            first = base + block * block_pitch + row * pitch
            builder.store(first, begin, (1, tile.width), tile.width)
