"""Tiles: how a layer is cut, and where its parts lie on chip."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Literal

from qcompile.errors import BufferTooSmall
from qcompile.targets.vta.config import Buffer, Config
from qcompile.targets.vta.planner.problem import Operand, PoolProblem, SumsProblem

Range = tuple[int, int]
Order = Literal["weights", "data"]
TOGETHER = 128  # elements: then instructions take little beside their overhead
ORDERS: tuple[Order, ...] = ("weights", "data")


@dataclass(frozen=True)
class Tiling:
    """The decisions of a layer. rows, columns: of outputs; outputs, inputs: blocks of channels.

    order: what stays on chip while the other passes by. threads: tiles that are on chip at a
    time: 2 halve the buffers, so that one half is filled while the other is worked on.
    """

    rows: int
    columns: int
    outputs: int
    inputs: int
    order: Order
    threads: int


@dataclass(frozen=True)
class Tile:
    """Outputs of one image (of a batch): rows, columns and blocks of channels from, to."""

    image: int
    rows: Range
    columns: Range
    outputs: Range

    @property
    def height(self) -> int:
        return self.rows[1] - self.rows[0]

    @property
    def width(self) -> int:
        return self.columns[1] - self.columns[0]

    @property
    def positions(self) -> int:
        return self.height * self.width

    @property
    def blocks(self) -> int:
        return self.outputs[1] - self.outputs[0]

    @property
    def elements(self) -> int:
        return self.positions * self.blocks


def ranges(size: int, step: int) -> list[Range]:
    """0..size in parts of that step; the last may be smaller."""
    return ranges_between((0, size), step)


def ranges_between(whole: Range, step: int) -> list[Range]:
    return [(first, min(first + step, whole[1])) for first in range(*whole, step)]


def tiles(images: int, height: int, width: int, blocks: int, tiling: Tiling) -> Iterator[Tile]:
    """All tiles of a layer, in the order they are computed."""
    outputs = ranges(blocks, tiling.outputs)
    places = [
        (image, rows, columns)
        for image in range(images)
        for rows in ranges(height, tiling.rows)
        for columns in ranges(width, tiling.columns)
    ]
    if tiling.order == "weights":
        yield from (Tile(*place, part) for part in outputs for place in places)
    else:
        yield from (Tile(*place, part) for place in places for part in outputs)


@dataclass(frozen=True)
class Window:
    """The inputs that a tile reads of one operand, padding included; pitch is `columns`.

    row, column: of the first, negative above or left of the image. A kernel of one row skips the
    rows that no output needs: rows are `row_step` apart.
    """

    row: int
    rows: int
    row_step: int
    column: int
    columns: int

    @property
    def elements(self) -> int:
        return self.rows * self.columns


def window(
    operand: Operand | PoolProblem,
    rows: Range,
    columns: Range,
    dilation: tuple[int, int] = (1, 1),
) -> Window:
    (top, left, _, _), (row_stride, column_stride) = operand.padding, operand.strides
    height, width = rows[1] - rows[0], columns[1] - columns[0]
    skipped = operand.kernel[0] == 1
    tall = (operand.kernel[0] - 1) * dilation[0] + 1
    wide = (operand.kernel[1] - 1) * dilation[1] + 1
    return Window(
        row=rows[0] * row_stride - top,
        rows=height if skipped else (height - 1) * row_stride + tall,
        row_step=row_stride if skipped else 1,
        column=columns[0] * column_stride - left,
        columns=(width - 1) * column_stride + wide,
    )


def input_elements(problem: SumsProblem, tiling: Tiling) -> int:
    """The most INP elements that one step of a tile loads."""
    rows, columns = (0, tiling.rows), (0, tiling.columns)
    return tiling.inputs * max(
        window(each, rows, columns, each.dilation).elements for each in problem.operands
    )


def term_blocks(tiling: Tiling) -> int:
    """Output blocks whose further terms are computed together, beside the sums of the tile."""
    return min(tiling.outputs, -(-TOGETHER // (tiling.rows * tiling.columns)))


def term_elements(problem: SumsProblem, tiling: Tiling) -> int:
    """ACC elements for the further terms of some sums."""
    return tiling.rows * tiling.columns * term_blocks(tiling) if problem.terms else 0


@dataclass(frozen=True)
class Places:
    """DRAM addresses of the tensors that operands name, of the output, and a key of the layer."""

    tensors: tuple[int, ...]
    output: int
    layer: Hashable


def too_small(config: Config, buffer: Buffer, elements: int) -> BufferTooSmall:
    """The error of a layer that needs so many elements of a buffer."""
    needed, size = elements * config.element_bytes(buffer), config.element_bytes(buffer)
    found, name = config.depth(buffer) * size, buffer.name
    return BufferTooSmall(
        f"the smallest tile needs {needed} bytes of {name}, which has {found}; "
        f"LOG_{name}_BUFF_SIZE {(needed - 1).bit_length()} works"
    )
