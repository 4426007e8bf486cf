"""How an int8 convolution is laid out and tiled, decided from its shapes and the target."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, prod

from qcompile.schedules.dot import Dot
from qcompile.schedules.intrinsics import dots_of
from qcompile.schedules.space import (
    DEFAULT,
    MOST_UNROLLED,
    ORDERS,
    Decision,
    Decisions,
    Space,
    chunks,
    divisors,
    first,
    from_json,
    frozen,
    to_json,
)
from qcompile.schedules.tile import (
    MOST_TILES,
    Tile,
    image_tiles,
    round_up,
    tile_cost,
    tiles,
    worth_threads,
)
from qcompile.targets import Target

MOST_SPLITS = 4
EVEN = 8  # pieces of work for each thread, so that all finish at about the same time


@dataclass(frozen=True)
class Conv2dProblem:
    """What is computed: x (N, H, W, C) before padding, w (O, KH, KW, C / groups).

    pads: (top, left, bottom, right) in pixels. narrow: no weight is -128.
    """

    x: tuple[int, ...]
    w: tuple[int, ...]
    pads: tuple[int, ...] = (0, 0, 0, 0)
    strides: tuple[int, ...] = (1, 1)
    dilation: tuple[int, ...] = (1, 1)
    groups: int = 1
    narrow: bool = False

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width of x with its pads."""
        (_, height, width, _), (top, left, bottom, right) = self.x, self.pads
        return height + top + bottom, width + left + right

    @property
    def out(self) -> tuple[int, int]:
        """Height and width of the result."""
        height, width = (
            (self.padded[a] - (self.w[1 + a] - 1) * self.dilation[a] - 1) // self.strides[a] + 1
            for a in (0, 1)
        )
        return height, width

    @property
    def products(self) -> int:
        """Multiplications."""
        return self.x[0] * prod(self.out) * prod(self.w)


@dataclass(frozen=True)
class Conv2dPlan:
    """Shapes of a convolution's operands, and the decisions on its tile and loops.

    Groups are counted after neighbours were merged (with zero weights between them) so that one
    group's outputs fill vectors. A `flat` convolution sees no pixels inside a kernel row: the row
    is one run of bytes, so kernel[1] is 1.
    """

    problem: Conv2dProblem
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
    split: int  # parts of the channels, each of which the whole window passes before the next
    unroll: int  # groups of steps that follow each other without a loop
    weights_stay: bool  # one panel of weights stays in cache while all data passes by
    chunks: str  # the loops that threads share

    @property
    def parallel(self) -> bool:
        """Whether threads share the work."""
        return self.chunks != "none"

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
        return to_json(self)

    @staticmethod
    def from_json(text: str) -> "Conv2dPlan":
        plan: Conv2dPlan = from_json(text, Conv2dPlan, Conv2dProblem)
        return plan


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
    """The default plan of `Conv2dProblem`."""
    problem = Conv2dProblem(
        x=tuple(map(int, x_shape)),
        w=tuple(map(int, w_shape)),
        pads=tuple(map(int, pads)),
        strides=tuple(map(int, strides)),
        dilation=tuple(map(int, dilation)),
        groups=groups,
        narrow=narrow,
    )
    return conv2d_plan(problem, target)


def conv2d_plan(
    problem: Conv2dProblem, target: Target, decisions: Decisions = DEFAULT
) -> Conv2dPlan:
    """The plan with these decisions, the others by default. Raises UnknownDecision."""
    chosen = conv2d_space(problem, target).chosen(decisions)
    name, rows, columns, vectors = frozen(chosen["tile"])
    layout = next(layout for layout in _layouts(problem, target) if layout.dot.name == name)
    plan = layout.plan((rows, columns, vectors), target)
    split, unroll = frozen(chosen["split_unroll"])
    return replace(
        plan,
        weights_stay=chosen["order"] == "weights",
        split=split,
        unroll=unroll,
        chunks=str(chosen["chunks"]),
    )


def conv2d_space(problem: Conv2dProblem, target: Target) -> Space:
    """What may be decided: instruction and tile, the order of the loops, how the sums run, threads.

    Tiles that would need a copy of x, where the default needs none, are left out.
    """
    best = [
        (layout, tile, cost)
        for layout in _layouts(problem, target)
        for tile, cost in sorted(layout.tiles(target), key=lambda each: each[1])[:MOST_TILES]
    ]
    best.sort(key=lambda each: each[2])
    layout, tile, _ = best[0]
    plan = layout.plan(tile, target)
    if not any(problem.pads):
        best = [each for each in best if each[0].input_shape(each[1]) == plan.input_shape]
    steps = plan.run // plan.depth // plan.together
    return Space(
        (
            Decision(
                "tile",
                tuple((layout.dot.name, *tile) for layout, tile, _ in best),
                costs=tuple(cost for _, _, cost in best),
            ),
            Decision("order", first("weights" if plan.weights_stay else "data", ORDERS)),
            Decision(
                "split_unroll",
                tuple(
                    (split, unroll)
                    for split in divisors(steps, MOST_SPLITS)
                    for unroll in divisors(steps // split, MOST_UNROLLED)
                ),
            ),
            chunks(plan.chunks),
        )
    )


@dataclass(frozen=True)
class _Layout:
    """How a problem's operands lie for one dot product."""

    problem: Conv2dProblem
    dot: Dot
    panels: int  # groups once neighbours were merged
    group_channels: int
    flat: bool
    kernel: tuple[int, int]
    run: int
    vectors: int  # of outputs of one panel

    def tiles(self, target: Target) -> Iterator[tuple[tuple[int, int, int], float]]:
        """(rows, columns, vectors) of the possible tiles, and what they cost for all outputs.

        The vectors divide those of a group, unless there is only one.
        """
        (height, width), dot = self.problem.out, self.dot
        steps = prod(self.kernel) * self.run // dot.depth
        wide = round_up(width, dot.rows)
        for tile in image_tiles(tiles(target, dot, height * wide, self.vectors), height, wide):
            rows, columns, vectors = tile
            if columns % dot.rows or (self.panels > 1 and self.vectors % vectors):
                continue
            count = height // rows * ceil(wide / columns) * ceil(self.vectors / vectors)
            one = Tile(rows * columns, vectors)
            cost = dot.slots * self.panels * count * tile_cost(one, steps, dot, target)
            yield tile, cost

    def input_shape(self, tile: tuple[int, int, int]) -> tuple[int, ...]:
        """The shape of the prepared x; a flat one has no axis of channels."""
        problem = self.problem
        (height, width), (batch, *_, c) = problem.padded, problem.x
        last_column = (round_up(problem.out[1], tile[1]) - 1) * problem.strides[1]
        if self.flat:
            return batch, height, max(ceil((last_column * c + self.run) / c), width) * c
        columns = last_column + (self.kernel[1] - 1) * problem.dilation[1] + 1
        channels = (self.panels - 1) * self.group_channels + self.run
        return batch, height, max(columns, width), channels

    def plan(self, tile: tuple[int, int, int], target: Target) -> Conv2dPlan:
        """The plan with this tile, and otherwise default decisions."""
        problem, dot = self.problem, self.dot
        (batch, *_, c), (height, width), outputs = problem.x, problem.out, problem.w[0]
        _, rows, columns, *channels = self.input_shape(tile)
        steps = prod(self.kernel) * self.run // dot.depth
        weight_bytes = self.panels * self.vectors * dot.lanes * steps * dot.depth
        panels = ceil(ceil(outputs / dot.lanes) / tile[2])
        chunks = "outer" if batch * height // tile[0] * panels >= EVEN * target.cores else "tiles"
        parallel = worth_threads(batch * height * width * weight_bytes, dot, target)
        return Conv2dPlan(
            problem=problem,
            batch=batch,
            out_height=height,
            out_width=width,
            out_channels=outputs,
            kernel=self.kernel,
            strides=(problem.strides[0], problem.strides[1]),
            dilation=(problem.dilation[0], problem.dilation[1]),
            groups=self.panels,
            group_channels=self.group_channels,
            run=self.run,
            flat=self.flat,
            height=rows,
            columns=columns // c if self.flat else columns,
            channels=c if self.flat else channels[0],
            dot=dot.name,
            lanes=dot.lanes,
            depth=dot.depth,
            together=dot.at_once(self.run // dot.depth),
            parts=dot.parts,
            offset=dot.offset,
            tile_rows=tile[0],
            tile_columns=tile[1],
            tile_vectors=tile[2],
            split=1,
            unroll=1,
            weights_stay=weight_bytes > target.l2_bytes // 2,
            chunks=chunks if parallel else "none",
        )


def _layouts(problem: Conv2dProblem, target: Target) -> Iterator[_Layout]:
    """One for each dot product that the target has, the fastest first."""
    outputs, kh, kw, _ = problem.w
    c, groups = problem.x[3], problem.groups
    for dot in dots_of(target, problem.narrow, pairs=problem.out[1] > 1):
        merged = _merged_groups(groups, outputs // groups, c // groups, dot.lanes, dot.unit)
        panels, group_channels = groups // merged, c // groups * merged
        flat = panels == 1 and (problem.dilation[1] == 1 or kw == 1) and c % dot.unit != 0
        yield _Layout(
            problem=problem,
            dot=dot,
            panels=panels,
            group_channels=group_channels,
            flat=flat,
            kernel=(kh, 1) if flat else (kh, kw),
            run=round_up(kw * c if flat else group_channels, dot.unit),
            vectors=ceil(outputs // panels / dot.lanes),
        )


def _merged_groups(groups: int, outputs: int, inputs: int, lanes: int, unit: int) -> int:
    """How many neighbouring groups to compute as one: the fewest dot products.

    Their outputs are whole vectors unless all groups become one.
    """

    def dots(merged: int) -> int:
        return groups // merged * ceil(merged * outputs / lanes) * ceil(merged * inputs / unit)

    possible = [m for m in range(1, groups) if groups % m == 0 and m * outputs % lanes == 0]
    return min([*possible, groups], key=dots)
