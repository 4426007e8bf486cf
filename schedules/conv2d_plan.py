"""How an int8 convolution is laid out and tiled, decided from its shapes and the target."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil, prod
from typing import Any

from qcompile.schedules.dot import Dot
from qcompile.schedules.intrinsics import dot_of
from qcompile.schedules.tile import Tile, image_tiles, round_up, tile_cost, tiles, worth_threads
from qcompile.targets import Target


@dataclass(frozen=True)
class Conv2dPlan:
    """Shapes of a convolution's operands, and the decisions on its tile and loops.

    Groups are counted after neighbours were merged (with zero weights between them) so that one
    group's outputs fill vectors. A `flat` convolution sees no pixels inside a kernel row: the row
    is one run of bytes, so kernel[1] is 1.
    """

    batch: int
    out_height: int
    out_width: int
    out_channels: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    group_channels: int  # channels from one group's first to the next group's
    run: int  # bytes multiplied at one position of the kernel: whole groups of steps
    flat: bool
    height: int  # of the prepared x
    columns: int
    channels: int
    dot: str  # the name of the dot product
    lanes: int
    depth: int
    together: int  # steps at once
    parts: int  # partial sums of each sum
    offset: int
    tile_rows: int
    tile_columns: int
    tile_vectors: int
    weights_stay: bool  # one panel of weights stays in cache while all data passes by
    parallel: bool

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of the prepared x; a flat one has no axis of channels."""
        if self.flat:
            return self.batch, self.height, self.columns * self.channels
        return self.batch, self.height, self.columns, self.channels

    @property
    def vectors(self) -> int:
        """Vectors of outputs: whole tiles."""
        return round_up(ceil(self.out_channels / self.lanes), self.tile_vectors)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(vectors, kernel height, kernel width, steps, lanes, depth)."""
        return self.vectors, *self.kernel, self.run // self.depth, self.lanes, self.depth

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "Conv2dPlan":
        fields: dict[str, Any] = json.loads(text)
        for name in ("kernel", "strides", "dilation"):
            fields[name] = tuple(fields[name])
        return Conv2dPlan(**fields)


def plan_conv2d(
    x_shape: Sequence[int],
    w_shape: Sequence[int],
    target: Target,
    *,
    pads: Sequence[int] = (0, 0, 0, 0),
    strides: Sequence[int] = (1, 1),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
    narrow: bool = False,
) -> Conv2dPlan:
    """The default decisions for x (N, H, W, C) before padding and w (O, KH, KW, C / groups).

    pads: (top, left, bottom, right) in pixels. narrow: no weight is -128.
    """
    (batch, h, w, c), (o, kh, kw, _) = x_shape, w_shape
    height, width = h + pads[0] + pads[2], w + pads[1] + pads[3]
    out_height = (height - (kh - 1) * dilation[0] - 1) // strides[0] + 1
    out_width = (width - (kw - 1) * dilation[1] - 1) // strides[1] + 1
    dot = dot_of(target, narrow, pairs=out_width > 1)
    lanes, depth = dot.lanes, dot.depth

    merged = _merged_groups(groups, o // groups, c // groups, lanes, dot.unit)
    panels, group_channels = groups // merged, c // groups * merged
    flat = panels == 1 and (dilation[1] == 1 or kw == 1) and c % dot.unit != 0
    kernel = (kh, 1) if flat else (kh, kw)
    run = round_up(kw * c if flat else group_channels, dot.unit)
    steps, vectors = prod(kernel) * run // depth, ceil(o // panels / lanes)
    tile = _tile(target, dot, out_height, out_width, vectors, panels, steps)

    last_column = (round_up(out_width, tile[1]) - 1) * strides[1]
    if flat:
        channels, columns = c, ceil((last_column * c + run) / c)
    else:
        channels = (panels - 1) * group_channels + run
        columns = last_column + (kw - 1) * dilation[1] + 1
    weight_bytes = panels * vectors * lanes * steps * depth
    products = batch * out_height * out_width * weight_bytes
    return Conv2dPlan(
        batch=batch,
        out_height=out_height,
        out_width=out_width,
        out_channels=o,
        kernel=kernel,
        strides=(strides[0], strides[1]),
        dilation=(dilation[0], dilation[1]),
        groups=panels,
        group_channels=group_channels,
        run=run,
        flat=flat,
        height=height,
        columns=max(columns, width),
        channels=channels,
        dot=dot.name,
        lanes=lanes,
        depth=depth,
        together=dot.at_once(run // depth),
        parts=dot.parts,
        offset=dot.offset,
        tile_rows=tile[0],
        tile_columns=tile[1],
        tile_vectors=tile[2],
        weights_stay=weight_bytes > target.l2_bytes // 2,
        parallel=worth_threads(products, dot, target),
    )


def _merged_groups(groups: int, outputs: int, inputs: int, lanes: int, unit: int) -> int:
    """How many neighbouring groups to compute as one: the fewest dot products.

    Their outputs are whole vectors unless all groups become one.
    """

    def dots(merged: int) -> int:
        return groups // merged * ceil(merged * outputs / lanes) * ceil(merged * inputs / unit)

    possible = [m for m in range(1, groups) if groups % m == 0 and m * outputs % lanes == 0]
    return min([*possible, groups], key=dots)


def _tile(
    target: Target, dot: Dot, height: int, width: int, vectors: int, panels: int, steps: int
) -> tuple[int, int, int]:
    """(rows, columns, vectors) of the tile that takes the least time for all outputs.

    The vectors divide those of a group, unless there is only one.
    """

    def cost(tile: tuple[int, int, int]) -> float:
        count = height // tile[0] * ceil(width / tile[1]) * ceil(vectors / tile[2])
        return count * tile_cost(Tile(tile[0] * tile[1], tile[2]), steps, dot, target)

    width = round_up(width, dot.rows)
    return min(
        (
            tile
            for tile in image_tiles(tiles(target, dot, height * width, vectors), height, width)
            if tile[1] % dot.rows == 0 and (panels == 1 or vectors % tile[2] == 0)
        ),
        key=cost,
    )
