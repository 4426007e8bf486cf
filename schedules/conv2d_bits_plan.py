"""How a convolution of bit planes is laid out and tiled, decided from its shapes and the target."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcompile.schedules.bit_product import Coefficients, Planes
from qcompile.schedules.bit_space import (
    Choice,
    best_choices,
    choice_of,
    splits_and_unrolls,
    tile_decision,
    value_of,
)
from qcompile.schedules.bit_tile import bit_tile_cost, bit_tiles, tiles_of_word
from qcompile.schedules.conv2d_plan import EVEN, MOST_SPLITS, Conv2dProblem
from qcompile.schedules.popcount import WORD_BITS, Popcount, popcounts_of
from qcompile.schedules.space import (
    DEFAULT,
    Decision,
    Decisions,
    Space,
    chunks,
    frozen,
    to_json,
)
from qcompile.schedules.tile import SMALLEST_PARALLEL_S, Tile, image_tiles, round_up
from qcompile.targets import Target


@dataclass(frozen=True)
class Conv2dBitsProblem:
    """What is computed: x (N, H, W, C) before padding, w (O, KH, KW, C / groups).

    operation, coefficients: of their planes, as `Planes` has them. pads: (top, left, bottom, right)
    in pixels.
    """

    x: tuple[int, ...]
    w: tuple[int, ...]
    operation: str
    coefficients: Coefficients
    pads: tuple[int, ...] = (0, 0, 0, 0)
    strides: tuple[int, ...] = (1, 1)
    dilation: tuple[int, ...] = (1, 1)
    groups: int = 1

    @property
    def planes(self) -> Planes:
        return Planes(self.operation, self.coefficients)

    @property
    def image(self) -> Conv2dProblem:
        """The same of codes: sizes are as its."""
        return Conv2dProblem(self.x, self.w, self.pads, self.strides, self.dilation, self.groups)

    @property
    def words(self) -> int:
        """Words of the channels of one group."""
        return ceil(self.w[3] / WORD_BITS)

    @property
    def steps(self) -> int:
        """Words of a window."""
        return prod(self.w[1:3]) * self.words

    @property
    def products(self) -> int:
        """Multiplications of bits."""
        return self.planes.pairs * self.image.products


@dataclass(frozen=True)
class Conv2dBitsPlan:
    """Shapes of a convolution's operands, and the decisions on its tile and loops.

    The channels of every group start at a new word. Row i of the output is of the class
    min(i, t) + max(i - (out_height - b) + 1, 0), where t rows see the padding above and b that
    below: `border` is (t, columns on the left, b, columns on the right).
    """

    problem: Conv2dBitsProblem
    batch: int
    out_height: int
    out_width: int
    out_channels: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    words: int  # of one group
    popcount: Popcount
    border: tuple[int, int, int, int]
    height: int  # of the padded x
    columns: int
    tile_rows: int
    tile_columns: int
    tile_vectors: int
    word_tiles: int  # tiles, one after the other, that make whole words of outputs
    split: int  # parts of the words, each of which the whole window passes before the next
    unroll: int  # steps of the words that follow each other without a loop
    weights_stay: bool  # one panel of weights stays in cache while all data passes by
    chunks: str  # the loops that threads share

    @property
    def parallel(self) -> bool:
        """Whether threads share the work."""
        return self.chunks != "none"

    @property
    def planes(self) -> Planes:
        return self.problem.planes

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
        return to_json(self)

    @staticmethod
    def from_json(text: str) -> "Conv2dBitsPlan":
        fields: dict[str, Any] = {name: frozen(value) for name, value in json.loads(text).items()}
        problem = {name: frozen(value) for name, value in fields.pop("problem").items()}
        popcount = Popcount(**fields.pop("popcount"))
        return Conv2dBitsPlan(Conv2dBitsProblem(**problem), popcount=popcount, **fields)


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
    """The default plan of `Conv2dBitsProblem`; form: of the popcount, instead of the cheapest."""
    problem = Conv2dBitsProblem(
        x=tuple(map(int, x_shape)),
        w=tuple(map(int, w_shape)),
        operation=planes.operation,
        coefficients=planes.coefficients,
        pads=tuple(map(int, pads)),
        strides=tuple(map(int, strides)),
        dilation=tuple(map(int, dilation)),
        groups=groups,
    )
    if form is None:
        return conv2d_bits_plan(problem, target)
    tile = value_of(_choices(problem, target), form)
    return conv2d_bits_plan(problem, target, {"tile": tile})


def conv2d_bits_plan(
    problem: Conv2dBitsProblem, target: Target, decisions: Decisions = DEFAULT
) -> Conv2dBitsPlan:
    """The plan with these decisions, the others by default. Raises UnknownDecision."""
    choices = _choices(problem, target)
    chosen = _space(problem, target, choices).chosen(decisions)
    choice, (split, unroll) = choice_of(choices, chosen["tile"]), frozen(chosen["split_unroll"])
    popcount, (rows, columns, vectors) = choice.popcount, choice.tile
    (batch, *_), (outputs, kh, kw, _) = problem.x, problem.w
    (height, width), groups = problem.image.out, problem.groups
    (top, bottom), (left, right) = (_outputs_that_see_padding(problem, axis) for axis in (0, 1))
    group_vectors = popcount.vectors(outputs // groups)
    return Conv2dBitsPlan(
        problem=problem,
        batch=batch,
        out_height=height,
        out_width=width,
        out_channels=outputs,
        kernel=(kh, kw),
        strides=(problem.strides[0], problem.strides[1]),
        dilation=(problem.dilation[0], problem.dilation[1]),
        groups=groups,
        words=problem.words,
        popcount=popcount,
        border=(top, left, bottom, right),
        height=problem.image.padded[0],
        columns=_columns(problem, columns),
        tile_rows=rows,
        tile_columns=columns,
        tile_vectors=vectors,
        word_tiles=tiles_of_word(Tile(rows * columns, vectors), popcount, group_vectors),
        split=split,
        unroll=unroll,
        weights_stay=chosen["order"] == "weights",
        chunks=str(chosen["chunks"]),
    )


def conv2d_bits_space(problem: Conv2dBitsProblem, target: Target) -> Space:
    """What may be decided: popcount and tile, the order of the loops, how the sums run, threads.

    Tiles that would need a copy of x, where the default needs none, are left out.
    """
    return _space(problem, target, _choices(problem, target))


def _space(problem: Conv2dBitsProblem, target: Target, choices: Sequence[Choice]) -> Space:
    popcount = choices[0].popcount
    vectors = problem.groups * popcount.vectors(problem.w[0] // problem.groups)
    weight_bytes = vectors * popcount.lanes * problem.steps * problem.planes.weights * 4
    stay = weight_bytes > target.l2_bytes // 2
    window = problem.w[1:3]
    divided = splits_and_unrolls(
        choices, (*window, problem.words), MOST_SPLITS if prod(window) > 1 else 1
    )
    return Space(
        (
            tile_decision(choices),
            Decision("order", ("weights", "data") if stay else ("data", "weights")),
            Decision("split_unroll", tuple(divided)),
            chunks(_default_chunks(problem, choices[0], target)),
        )
    )


def _default_chunks(problem: Conv2dBitsProblem, choice: Choice, target: Target) -> str:
    """The loops that threads share where the tile is that one."""
    (rows, columns, vectors), groups, batch = choice.tile, problem.groups, problem.x[0]
    if batch * groups * choice.cost / target.clock_hz < 2 * SMALLEST_PARALLEL_S:
        return "none"
    group_vectors = choice.popcount.vectors(problem.w[0] // groups)
    words = tiles_of_word(Tile(rows * columns, vectors), choice.popcount, group_vectors)
    panels = ceil(groups * round_up(group_vectors, vectors) / (words * vectors))
    pieces = batch * problem.image.out[0] // rows * panels
    return "tiles" if pieces < EVEN * target.cores else "outer"


def _choices(problem: Conv2dBitsProblem, target: Target) -> list[Choice]:
    """Popcounts with the best of their tiles, the default first."""
    grouped, outputs = problem.groups > 1, problem.w[0] // problem.groups

    def popcounts(every: bool) -> list[Popcount]:
        return popcounts_of(
            target,
            0 if grouped else problem.words,
            prod(problem.w[1:3]),
            outputs=outputs if grouped else None,
            every=every,
        )

    def costs(popcount: Popcount) -> Iterator[tuple[tuple[int, ...], float]]:
        return _tiles(problem, target, popcount, popcount.vectors(outputs))

    choices = best_choices(popcounts(False), popcounts(True), costs)
    if any(problem.pads):
        return choices
    free = problem.image.padded[1], _columns(problem, choices[0].tile[1])
    return [choice for choice in choices if _columns(problem, choice.tile[1]) in free]


def _tiles(
    problem: Conv2dBitsProblem, target: Target, popcount: Popcount, vectors: int
) -> Iterator[tuple[tuple[int, ...], float]]:
    """(rows, columns, vectors) of the possible tiles, and what they cost for all outputs.

    Where the outputs allow it a tile is whole words of them, so that it can be packed.
    """
    (height, width), planes = problem.image.out, problem.planes
    shapes = bit_tiles(target, popcount, planes, height * width, vectors)
    for tile in image_tiles(shapes, height, width):
        count = height // tile[0] * ceil(width / tile[1]) * ceil(vectors / tile[2])
        one = Tile(tile[0] * tile[1], tile[2])
        yield tile, count * bit_tile_cost(one, problem.steps, popcount, planes, target)


def _columns(problem: Conv2dBitsProblem, tile_columns: int) -> int:
    """Columns of the padded x for tiles of so many."""
    last_column = (round_up(problem.image.out[1], tile_columns) - 1) * problem.strides[1]
    reach = (problem.w[2] - 1) * problem.dilation[1]
    return max(last_column + reach + 1, problem.image.padded[1])


def _outputs_that_see_padding(problem: Conv2dBitsProblem, axis: int) -> tuple[int, int]:
    """How many outputs along an axis see padding before and after the data."""
    outputs, size = problem.image.out[axis], problem.x[1 + axis]
    pad, stride = problem.pads[axis], problem.strides[axis]
    reach = (problem.w[1 + axis] - 1) * problem.dilation[axis]
    return min(outputs, ceil(pad / stride)), outputs - min(
        outputs, max(0, ceil((size + pad - reach) / stride))
    )
