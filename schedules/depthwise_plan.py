"""How an int8 depthwise convolution is laid out and tiled, from its shapes and the target."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

from qcompile.schedules.intrinsics import dot_of
from qcompile.schedules.lane_dot import LaneDot, lane_dot_of
from qcompile.schedules.tile import round_up, worth_threads
from qcompile.targets import Target

STACK_BYTES = 1024  # TVM puts smaller buffers on the stack, where they become registers
# What it costs to interleave one row into a vector of taps, to keep that vector in memory, and to
# begin a tile; in dot products.
ROW_COST, FAR_COST, TILE_COST = 0.6, 2.5, 3.0
VAIN = 4  # how much longer than its products alone, at the peak, such a convolution takes


@dataclass(frozen=True)
class DepthwisePlan:
    """Shapes of a depthwise convolution's operands, and the decisions on its tile.

    The kernel's rows are taken `depth` at a time, `steps` times: one int32 lane holds as many rows
    of one channel. A tile is `tile_rows` by `tile_columns` output pixels of `lanes` channels.
    A kernel of one row is seen turned: then "rows" are columns, and the fields below that name rows
    and columns speak of what is computed, not of the prepared x.
    """

    batch: int
    out_height: int
    out_width: int
    out_channels: int
    multiplier: int  # outputs of each channel
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilation: tuple[int, int]
    turned: bool
    height: int  # of the prepared x
    columns: int
    channels: int
    lanes: int
    depth: int
    steps: int
    tile_rows: int
    tile_columns: int
    pixels_inside: bool  # a row's tiles follow each other, with weights that stay in registers
    parallel: bool

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """The shape of the prepared x."""
        return self.batch, self.height, self.columns, self.channels

    @property
    def blocks(self) -> int:
        """Vectors of output channels."""
        return ceil(self.out_channels / self.lanes)

    @property
    def weight_shape(self) -> tuple[int, int, int, int, int, int]:
        """(blocks, steps, kernel columns, tile rows, lanes, depth)."""
        return self.blocks, self.steps, self.kernel[1], self.tile_rows, self.lanes, self.depth

    @property
    def tiled_shape(self) -> tuple[int, int]:
        """The output's height and width in whole tiles."""
        return (
            round_up(self.out_height, self.tile_rows),
            round_up(self.out_width, self.tile_columns),
        )

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "DepthwisePlan":
        fields: dict[str, Any] = json.loads(text)
        for key in ("kernel", "strides", "dilation"):
            fields[key] = tuple(fields[key])
        return DepthwisePlan(**fields)


def plan_depthwise(
    x_shape: Sequence[int],
    w_shape: Sequence[int],
    target: Target,
    *,
    pads: Sequence[int] = (0, 0, 0, 0),
    strides: Sequence[int] = (1, 1),
    dilation: Sequence[int] = (1, 1),
) -> DepthwisePlan:
    """The default decisions for x (N, H, W, C) before padding and w (outputs, KH, KW).

    pads: (top, left, bottom, right) in pixels. `outputs` is a multiple of C. The prepared x must
    have `plan.input_shape`: some rows, columns and channels more than the pads ask for, which may
    hold anything.
    """
    (n, h, w, c), (outputs, *size) = x_shape, w_shape
    padded = h + pads[0] + pads[2], w + pads[1] + pads[3]
    turned = size[0] == 1
    a, b = (1, 0) if turned else (0, 1)
    window = _Window(
        out=tuple((padded[x] - (size[x] - 1) * dilation[x] - 1) // strides[x] + 1 for x in (a, b)),
        kernel=(size[a], size[b]),
        strides=(strides[a], strides[b]),
        dilation=(dilation[a], dilation[b]),
        dot=lane_dot_of(target),
    )
    registers = window.dot.vector_bytes // target.vector_bytes
    if registers > 1:
        registers += 1  # the taps of such a vector of sums, in half as many bytes
    room = (target.vector_registers - 2) // registers
    vectors = min((STACK_BYTES - 1) // window.dot.vector_bytes, room)
    tile_rows, tile_columns = window.best_tile(vectors)
    steps = window.steps(tile_rows)
    held = tile_rows * (tile_columns + steps * window.kernel[1])
    seen = window.seen(tile_rows, tile_columns)
    products = n * window.out[0] * window.out[1] * outputs * size[0] * size[1]
    return DepthwisePlan(
        batch=n,
        out_height=window.out[0],
        out_width=window.out[1],
        out_channels=outputs,
        multiplier=outputs // c,
        kernel=window.kernel,
        strides=window.strides,
        dilation=window.dilation,
        turned=turned,
        height=max(seen[a], padded[0]),
        columns=max(seen[b], padded[1]),
        channels=c if outputs > c else round_up(c, window.dot.lanes),
        lanes=window.dot.lanes,
        depth=window.dot.depth,
        steps=steps,
        tile_rows=tile_rows,
        tile_columns=tile_columns,
        pixels_inside=max(strides) == 1 and held < target.vector_registers - 2,
        parallel=worth_threads(VAIN * products, dot_of(target), target),
    )


@dataclass(frozen=True)
class _Window:
    """What slides over x, and the instruction that multiplies."""

    out: tuple[int, ...]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilation: tuple[int, int]
    dot: LaneDot

    def steps(self, rows: int) -> int:
        """Groups of `depth` input rows that so many output rows need."""
        return ceil(((rows - 1) * self.strides[0] + self.kernel[0]) / self.dot.depth)

    def columns(self, columns: int) -> int:
        """Input columns that so many output columns need."""
        return (columns - 1) * self.strides[1] + (self.kernel[1] - 1) * self.dilation[1] + 1

    def seen(self, tile_rows: int, tile_columns: int) -> tuple[int, int]:
        """Rows and columns of x that whole tiles read."""
        last = (round_up(self.out[0], tile_rows) - tile_rows) * self.strides[0]
        reach = (self.steps(tile_rows) * self.dot.depth - 1) * self.dilation[0]
        return last + reach + 1, self.columns(round_up(self.out[1], tile_columns))

    def best_tile(self, vectors: int) -> tuple[int, int]:
        """(rows, columns) of the fastest tile with at most so many vectors of sums."""
        highest = self.dot.depth if self.dilation[0] == 1 else 1

        def cost(tile: tuple[int, int]) -> float:
            rows, columns = tile
            seen = self.columns(columns)
            taps = seen * (ROW_COST * self.dot.depth + (FAR_COST if seen > vectors else 0))
            work = self.steps(rows) * (rows * columns * self.kernel[1] + taps)
            return ceil(self.out[0] / rows) * ceil(self.out[1] / columns) * (work + TILE_COST)

        tiles = ((r, c) for r in range(1, highest + 1) for c in range(1, vectors // r + 1))
        return min(tiles, key=cost)
