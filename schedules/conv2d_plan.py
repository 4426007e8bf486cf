"""How an int8 convolution is laid out and tiled, decided from its shapes and the target."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from math import ceil, prod

from qcompile.schedules.intrinsics_x86 import dot_of, dot_shape
from qcompile.schedules.tile import Tile, round_up, tile_cost, tiles, worth_threads
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
    run: int  # bytes multiplied at one position of the kernel: whole steps of `depth`
    flat: bool
    height: int  # of the prepared x
    columns: int
    channels: int
    lanes: int
    depth: int
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
    def group_vectors(self) -> int:
        """Vectors of outputs in one group: whole tiles."""
        vectors = ceil(self.out_channels // self.groups / self.lanes)
        return round_up(vectors, self.tile_vectors)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(groups, vectors, kernel height, kernel width, steps, lanes, depth)."""
        steps = self.run // self.depth
        return self.groups, self.group_vectors, *self.kernel, steps, self.lanes, self.depth

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "Conv2dPlan":
        fields = json.loads(text)
        return Conv2dPlan(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})


def plan_conv2d(
    x_shape: Sequence[int],
    w_shape: Sequence[int],
    target: Target,
    *,
    pads: Sequence[int] = (0, 0, 0, 0),
    strides: Sequence[int] = (1, 1),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> Conv2dPlan:
    """The default decisions for x (N, H, W, C) before padding and w (O, KH, KW, C / groups).

    pads: (top, left, bottom, right) in pixels.
    """
    (n, h, w, c), (o, kh, kw, _) = x_shape, w_shape
    lanes, depth = dot_shape(target)
    height, width = h + pads[0] + pads[2], w + pads[1] + pads[3]
    out_height = (height - (kh - 1) * dilation[0] - 1) // strides[0] + 1
    out_width = (width - (kw - 1) * dilation[1] - 1) // strides[1] + 1

    merged = _merged_groups(groups, o // groups, c // groups, lanes, depth)
    group_channels = c // groups * merged
    flat = groups == merged and (dilation[1] == 1 or kw == 1) and c % depth != 0
    kernel, run = ((kh, 1), kw * c) if flat else ((kh, kw), group_channels)
    run = round_up(run, depth)
    steps = prod(kernel) * run // depth
    vectors = ceil(o // groups * merged / lanes)
    panels = groups // merged

    tile_rows, tile_columns, tile_vectors = min(
        _candidates(target, out_height, out_width, vectors),
        key=lambda t: (
            (out_height // t[0]) * ceil(out_width / t[1]) * ceil(vectors / t[2])
            * tile_cost(Tile(t[0] * t[1], t[2]), steps, target)
        ),
    )  # fmt: skip
    last_column = (round_up(out_width, tile_columns) - 1) * strides[1]
    if flat:
        channels, columns = c, ceil((last_column * c + run) / c)
    else:
        channels = (panels - 1) * group_channels + run
        columns = last_column + (kw - 1) * dilation[1] + 1
    weight_bytes = panels * vectors * lanes * steps * depth
    products = n * out_height * out_width * weight_bytes
    return Conv2dPlan(
        batch=n,
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
        lanes=lanes,
        depth=depth,
        tile_rows=tile_rows,
        tile_columns=tile_columns,
        tile_vectors=tile_vectors,
        weights_stay=weight_bytes > target.l2_bytes // 2,
        parallel=worth_threads(products, dot_of(target), target),
    )


def _candidates(
    target: Target, height: int, width: int, vectors: int
) -> Iterator[tuple[int, int, int]]:
    """(rows, columns, vectors) of every tile whose rows divide the height."""
    for tile in tiles(target, height * width, vectors):
        for rows in range(1, tile.rows + 1):
            if height % rows == 0 and tile.rows % rows == 0 and tile.rows // rows <= width:
                yield rows, tile.rows // rows, tile.vectors


def _merged_groups(groups: int, outputs: int, inputs: int, lanes: int, depth: int) -> int:
    """How many neighbouring groups to compute as one: the fewest dot products."""

    def dots(merged: int) -> int:
        return groups // merged * ceil(merged * outputs / lanes) * ceil(merged * inputs / depth)

    return min((m for m in range(1, groups + 1) if groups % m == 0), key=dots)
