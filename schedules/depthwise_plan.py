"""How an int8 depthwise convolution is laid out and tiled, from its shapes and the target."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, prod

from qcompile.schedules.intrinsics import dot_of
from qcompile.schedules.lane_dot import LaneDot, lane_dot_of
from qcompile.schedules.space import (
    DEFAULT,
    Decision,
    Decisions,
    Space,
    chunks,
    first,
    from_json,
    frozen,
    to_json,
)
from qcompile.schedules.tile import MOST_TILES, round_up, worth_threads
from qcompile.targets import Target

STACK_BYTES = 1024  # TVM puts smaller buffers on the stack, where they become registers
# What it costs to interleave one row into a vector of taps, to keep that vector in memory, and to
# begin a tile; in dot products.
ROW_COST, FAR_COST, TILE_COST = 0.6, 2.5, 3.0
VAIN = 4  # how much longer than its products alone, at the peak, such a convolution takes
MOST_STEPS = 8  # that follow each other without a loop
ORDERS = ("channels", "pixels")  # whose tiles follow each other


@dataclass(frozen=True)
class DepthwiseProblem:
    """What is computed: x (N, H, W, C) before padding, w (outputs, KH, KW).

    pads: (top, left, bottom, right) in pixels. `outputs` is a multiple of C.
    """

    x: tuple[int, ...]
    w: tuple[int, ...]
    pads: tuple[int, ...] = (0, 0, 0, 0)
    strides: tuple[int, ...] = (1, 1)
    dilation: tuple[int, ...] = (1, 1)

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
class DepthwisePlan:
    """Shapes of a depthwise convolution's operands, and the decisions on its tile.

    The kernel's rows are taken `depth` at a time, `steps` times: one int32 lane holds as many rows
    of one channel. A tile is `tile_rows` by `tile_columns` output pixels of `lanes` channels.
    A kernel of one row is seen turned: then "rows" are columns, and the fields below that name rows
    and columns speak of what is computed, not of the prepared x.
    """

    problem: DepthwiseProblem
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
    unrolled: bool  # the steps follow each other without a loop
    chunks: str  # the loops that threads share

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
        return to_json(self)

    @staticmethod
    def from_json(text: str) -> "DepthwisePlan":
        plan: DepthwisePlan = from_json(text, DepthwisePlan, DepthwiseProblem)
        return plan


def plan_depthwise(
    x_shape: Sequence[int],
    w_shape: Sequence[int],
    target: Target,
    *,
    pads: Sequence[int] = (0, 0, 0, 0),
    strides: Sequence[int] = (1, 1),
    dilation: Sequence[int] = (1, 1),
) -> DepthwisePlan:
    """The default plan of `DepthwiseProblem`."""
    problem = DepthwiseProblem(
        x=tuple(map(int, x_shape)),
        w=tuple(map(int, w_shape)),
        pads=tuple(map(int, pads)),
        strides=tuple(map(int, strides)),
        dilation=tuple(map(int, dilation)),
    )
    return depthwise_plan(problem, target)


def depthwise_plan(
    problem: DepthwiseProblem, target: Target, decisions: Decisions = DEFAULT
) -> DepthwisePlan:
    """The plan with these decisions, the others by default. Raises UnknownDecision.

    The prepared x must have `plan.input_shape`: some rows, columns and channels more than the pads
    ask for, which may hold anything.
    """
    chosen = depthwise_space(problem, target).chosen(decisions)
    rows, columns = frozen(chosen["tile"])
    return replace(
        _plan(problem, (rows, columns), target),
        pixels_inside=chosen["order"] == "pixels",
        unrolled=bool(chosen["unroll"]),
        chunks=str(chosen["chunks"]),
    )


def depthwise_space(problem: DepthwiseProblem, target: Target) -> Space:
    """What may be decided: the tile, the order of the loops, whether steps are a loop, threads.

    Tiles that would need a copy of x, where the default needs none, are left out.
    """
    window = _window(problem, target)
    tiles = window.tiles(_most_vectors(window.dot, target))[:MOST_TILES]
    plan = _plan(problem, tiles[0][0], target)
    if not any(problem.pads):
        shape = plan.input_shape
        tiles = [each for each in tiles if _plan(problem, each[0], target).input_shape == shape]
    short = max(window.steps(rows) for (rows, _), _ in tiles) <= MOST_STEPS
    return Space(
        (
            Decision(
                "tile",
                tuple(tile for tile, _ in tiles),
                costs=tuple(cost for _, cost in tiles),
            ),
            Decision("order", first("pixels" if plan.pixels_inside else "channels", ORDERS)),
            Decision("unroll", (False, True) if short else (False,)),
            chunks(plan.chunks),
        )
    )


def _window(problem: DepthwiseProblem, target: Target) -> "_Window":
    a, b = (1, 0) if problem.w[1] == 1 else (0, 1)
    (strides, dilation), size = (problem.strides, problem.dilation), problem.w[1:]
    out = [(problem.padded[x] - (size[x] - 1) * dilation[x] - 1) // strides[x] + 1 for x in (a, b)]
    return _Window(
        out=(out[0], out[1]),
        kernel=(size[a], size[b]),
        strides=(strides[a], strides[b]),
        dilation=(dilation[a], dilation[b]),
        dot=lane_dot_of(target),
    )


def _most_vectors(dot: LaneDot, target: Target) -> int:
    """The vectors of sums that fit the registers, beside what they are computed from."""
    registers = dot.vector_bytes // target.vector_bytes
    if registers > 1:
        registers += 1  # the taps of such a vector of sums, in half as many bytes
    room = (target.vector_registers - 2) // registers
    return min((STACK_BYTES - 1) // dot.vector_bytes, room)


def _plan(problem: DepthwiseProblem, tile: tuple[int, int], target: Target) -> DepthwisePlan:
    """The plan with this tile, and otherwise default decisions."""
    window = _window(problem, target)
    (n, *_, c), (outputs, *size) = problem.x, problem.w
    turned = size[0] == 1
    (tile_rows, tile_columns), steps = tile, window.steps(tile[0])
    held = tile_rows * (tile_columns + steps * window.kernel[1])
    seen = window.seen(tile_rows, tile_columns)
    products = n * prod(window.out) * outputs * prod(size)
    return DepthwisePlan(
        problem=problem,
        batch=n,
        out_height=window.out[0],
        out_width=window.out[1],
        out_channels=outputs,
        multiplier=outputs // c,
        kernel=window.kernel,
        strides=window.strides,
        dilation=window.dilation,
        turned=turned,
        height=max(seen[turned], problem.padded[0]),
        columns=max(seen[not turned], problem.padded[1]),
        channels=c if outputs > c else round_up(c, window.dot.lanes),
        lanes=window.dot.lanes,
        depth=window.dot.depth,
        steps=steps,
        tile_rows=tile_rows,
        tile_columns=tile_columns,
        pixels_inside=max(window.strides) == 1 and held < target.vector_registers - 2,
        unrolled=False,
        chunks="outer" if worth_threads(VAIN * products, dot_of(target), target) else "none",
    )


@dataclass(frozen=True)
class _Window:
    """What slides over x, and the instruction that multiplies."""

    out: tuple[int, int]
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

    def tiles(self, vectors: int) -> list[tuple[tuple[int, int], float]]:
        """(rows, columns) of the tiles with at most so many vectors of sums, and their costs.

        The fastest comes first.
        """
        highest = self.dot.depth if self.dilation[0] == 1 else 1

        def cost(tile: tuple[int, int]) -> float:
            rows, columns = tile
            seen = self.columns(columns)
            taps = seen * (ROW_COST * self.dot.depth + (FAR_COST if seen > vectors else 0))
            work = self.steps(rows) * (rows * columns * self.kernel[1] + taps)
            return ceil(self.out[0] / rows) * ceil(self.out[1] / columns) * (work + TILE_COST)

        tiles = (
            (rows, columns)
            for rows in range(1, min(highest, self.out[0]) + 1)
            for columns in range(1, min(vectors // rows, self.out[1]) + 1)
        )
        return sorted(((tile, cost(tile)) for tile in tiles), key=lambda each: each[1])
