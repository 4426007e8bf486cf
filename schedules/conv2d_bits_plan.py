"""How a convolution of bit planes is laid out and tiled, decided from its shapes and the target."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcompile.schedules.bit_product import Planes
from qcompile.schedules.bit_tile import bit_tile_cost, bit_tiles, tiles_of_word
from qcompile.schedules.popcount import WORD_BITS, Popcount, popcounts_of
from qcompile.schedules.tile import SMALLEST_PARALLEL_S, Tile, image_tiles, round_up
from qcompile.targets import Target


@dataclass(frozen=True)
class Conv2dBitsPlan:
    """Shapes of a convolution's operands, and the decisions on its tile and loops.

    The channels of every group start at a new word. Row i of the output is of the class
    min(i, t) + max(i - (out_height - b) + 1, 0), where t rows see the padding above and b that
    below: `border` is (t, columns on the left, b, columns on the right).
    """

    batch: int
    out_height: int
    out_width: int
    out_channels: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    words: int  # of one group
    planes: Planes
    popcount: Popcount
    border: tuple[int, int, int, int]
    height: int  # of the padded x
    columns: int
    tile_rows: int
    tile_columns: int
    tile_vectors: int
    word_tiles: int  # tiles, one after the other, that make whole words of outputs
    weights_stay: bool  # one panel of weights stays in cache while all data passes by
    parallel: bool

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(N, height, columns, planes, words) of the padded x."""
        return self.batch, self.height, self.columns, self.planes.data, self.groups * self.words

    @property
    def group_vectors(self) -> int:
        """Vectors of outputs of one group: whole tiles."""
        return round_up(self.popcount.vectors(self.out_channels // self.groups), self.tile_vectors)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(vectors, kernel height, kernel width, steps, planes, lanes, words of a step if any)."""
        panel = self.popcount.panel(self.words, self.planes.weights)
        return self.groups * self.group_vectors, *self.kernel, *panel

    @property
    def class_counts(self) -> tuple[int, int]:
        """How many classes of rows and of columns there are."""
        top, left, bottom, right = self.border
        return top + bottom + 1, left + right + 1

    @property
    def in_order(self) -> bool:
        """Whether vectors of outputs have no gaps between the groups."""
        return self.groups * self.group_vectors * self.popcount.lanes == self.out_channels or (
            self.groups == 1
        )

    def classes(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The class of every row and of every column of the output."""
        top, left, bottom, right = self.border
        rows, columns = np.arange(self.out_height), np.arange(self.out_width)
        return (
            np.minimum(rows, top) + np.maximum(rows - (self.out_height - bottom) + 1, 0),
            np.minimum(columns, left) + np.maximum(columns - (self.out_width - right) + 1, 0),
        )

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "Conv2dBitsPlan":
        fields: dict[str, Any] = json.loads(text)
        for name in ("kernel", "strides", "dilation", "border"):
            fields[name] = tuple(fields[name])
        rows = tuple(map(tuple, fields["planes"]["coefficients"]))
        fields["planes"] = Planes(fields["planes"]["operation"], rows)
        fields["popcount"] = Popcount(**fields["popcount"])
        return Conv2dBitsPlan(**fields)


def plan_conv2d_bits(
    x_shape: Sequence[int],
    w_shape: Sequence[int],
    planes: Planes,
    target: Target,
    *,
    pads: Sequence[int] = (0, 0, 0, 0),
    strides: Sequence[int] = (1, 1),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
    form: str | None = None,
) -> Conv2dBitsPlan:
    """The default decisions for x (N, H, W, C) before padding and w (O, KH, KW, C / groups).

    pads: (top, left, bottom, right) in pixels. form: of the popcount, instead of the cheapest.
    """
    batch, *size, _ = x_shape
    outputs, *kernel, channels = w_shape
    reach = [(kernel[a] - 1) * dilation[a] for a in (0, 1)]
    padded = [size[a] + pads[a] + pads[a + 2] for a in (0, 1)]
    height, width = ((padded[a] - reach[a] - 1) // strides[a] + 1 for a in (0, 1))
    words = ceil(channels / WORD_BITS)
    steps = prod(kernel) * words
    found = popcounts_of(
        target,
        words if groups == 1 else 0,
        prod(kernel),
        outputs=outputs // groups if groups > 1 else None,
        form=form,
    )
    popcount, (rows, columns, tile_vectors), cost = min(
        (
            (p, *_tile(target, p, planes, height, width, p.vectors(outputs // groups), steps))
            for p in found
        ),
        key=lambda choice: choice[2],
    )
    vectors = popcount.vectors(outputs // groups)
    (top, bottom), (left, right) = (
        _outputs_that_see_padding(n, size[a], pads[a], strides[a], reach[a])
        for a, n in ((0, height), (1, width))
    )
    weight_bytes = groups * vectors * popcount.lanes * steps * planes.weights * 4
    last_column = (round_up(width, columns) - 1) * strides[1] + reach[1]
    return Conv2dBitsPlan(
        batch=batch,
        out_height=height,
        out_width=width,
        out_channels=outputs,
        kernel=(kernel[0], kernel[1]),
        strides=(strides[0], strides[1]),
        dilation=(dilation[0], dilation[1]),
        groups=groups,
        words=words,
        planes=planes,
        popcount=popcount,
        border=(top, left, bottom, right),
        height=padded[0],
        columns=max(last_column + 1, padded[1]),
        tile_rows=rows,
        tile_columns=columns,
        tile_vectors=tile_vectors,
        word_tiles=tiles_of_word(Tile(rows * columns, tile_vectors), popcount, vectors),
        weights_stay=weight_bytes > target.l2_bytes // 2,
        parallel=batch * groups * cost / target.clock_hz >= 2 * SMALLEST_PARALLEL_S,
    )


def _outputs_that_see_padding(
    outputs: int, size: int, pad: int, stride: int, reach: int
) -> tuple[int, int]:
    """How many outputs along an axis see padding before and after the data."""
    return min(outputs, ceil(pad / stride)), outputs - min(
        outputs, max(0, ceil((size + pad - reach) / stride))
    )


def _tile(
    target: Target,
    popcount: Popcount,
    planes: Planes,
    height: int,
    width: int,
    vectors: int,
    words: int,
) -> tuple[tuple[int, int, int], float]:
    """(rows, columns, vectors) of the tile that is the fastest for all outputs, and its time.

    Where the outputs allow it a tile is whole words of them, so that it can be packed.
    """

    def cost(tile: tuple[int, int, int]) -> float:
        count = height // tile[0] * ceil(width / tile[1]) * ceil(vectors / tile[2])
        one = Tile(tile[0] * tile[1], tile[2])
        return count * bit_tile_cost(one, words, popcount, planes, target)

    shapes = bit_tiles(target, popcount, planes, height * width, vectors)
    best = min(image_tiles(shapes, height, width), key=cost)
    return best, cost(best)
