"""How an int8 depthwise convolution is laid out and tiled, from its shapes and the target."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil

from qcompile.schedules.intrinsics_x86 import dot_of, dot_shape
from qcompile.schedules.tile import round_up, worth_threads
from qcompile.targets import Target

STACK_BYTES = 1024  # TVM puts smaller buffers on the stack, where they become registers


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
        fields = json.loads(text)
        return DepthwisePlan(
            **{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
        )


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
    out = [(padded[a] - (size[a] - 1) * dilation[a] - 1) // strides[a] + 1 for a in (0, 1)]
    turned = size[0] == 1
    a, b = (1, 0) if turned else (0, 1)
    lanes, depth = dot_shape(target)
    tile_rows, steps = _rows(size[a], out[a], strides[a], dilation[a], depth)
    tile_columns = _columns(out[b], STACK_BYTES // (4 * lanes) - 1, tile_rows)

    last_row = (round_up(out[a], tile_rows) - tile_rows) * strides[a]
    last_column = (round_up(out[b], tile_columns) - 1) * strides[b]
    rows = last_row + (steps * depth - 1) * dilation[a] + 1
    columns = last_column + (size[b] - 1) * dilation[b] + 1
    seen = (columns, rows) if turned else (rows, columns)
    products = n * out[0] * out[1] * outputs * size[0] * size[1]
    return DepthwisePlan(
        batch=n,
        out_height=out[a],
        out_width=out[b],
        out_channels=outputs,
        multiplier=outputs // c,
        kernel=(size[a], size[b]),
        strides=(strides[a], strides[b]),
        dilation=(dilation[a], dilation[b]),
        turned=turned,
        height=max(seen[0], padded[0]),
        columns=max(seen[1], padded[1]),
        channels=c if outputs > c else round_up(c, lanes),
        lanes=lanes,
        depth=depth,
        steps=steps,
        tile_rows=tile_rows,
        tile_columns=tile_columns,
        parallel=worth_threads(3 * products, dot_of(target), target),
    )


def _rows(kernel: int, out: int, stride: int, dilation: int, depth: int) -> tuple[int, int]:
    """(output rows of a tile, steps of `depth` input rows it needs): the fewest dot products."""
    if dilation > 1:
        return 1, ceil(kernel / depth)

    def steps(rows: int) -> int:
        return ceil(((rows - 1) * stride + kernel) / depth)

    rows = min(range(1, depth + 1), key=lambda r: (ceil(out / r) * r * steps(r), -r))
    return rows, steps(rows)


def _columns(out: int, vectors: int, rows: int) -> int:
    """Output columns of a tile that computes few columns in vain, and is wide."""
    widest = max(vectors // rows, 1)
    return min(range(1, widest + 1), key=lambda columns: ceil(out / columns) * (columns + 1))
