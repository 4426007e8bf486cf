"""Depthwise two-dimensional convolution, float32, channels last.

y[n, i, j, o] = bias[o] + sum x[n, i*s + u*d, j*s + v*d, o / multiplier] * w[o, u, v] over u, v.
x is already padded; `multiplier` outputs share one channel of x.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import s_tir, te, tirx
from tvm.s_tir.schedule import SBlockRV

from qcompile.schedules.epilogue import inline_epilogue
from qcompile.schedules.pool2d_plan import unrolled_choices
from qcompile.schedules.space import (
    DEFAULT,
    PROBLEM,
    Decision,
    Decisions,
    Space,
    chunks,
    divisors,
    from_json,
    frozen,
    to_json,
)
from qcompile.schedules.tile import round_up
from qcompile.schedules.tile_f32 import FLOAT_BYTES, lane_choices, worth_parallel
from qcompile.targets import Target

ACCUMULATOR_BYTES = 1024  # fewer stay in registers when the taps are unrolled
MOST_VECTORS = 4
ORDERS = ("channels", "pixels")  # whose tiles follow each other


@dataclass(frozen=True)
class DepthwiseConv2dF32Problem:
    """What is computed: padded data (N, H, W, C), weights (channels, 1, *kernel)."""

    data: tuple[int, ...]
    channels: int
    kernel: tuple[int, ...]
    strides: tuple[int, ...] = (1, 1)
    dilation: tuple[int, ...] = (1, 1)

    @property
    def multiplier(self) -> int:
        """Outputs of each channel of the data."""
        return self.channels // self.data[3]

    @property
    def height(self) -> int:
        """Rows of the output."""
        return _outputs(self.data[1], self.kernel[0], self.strides[0], self.dilation[0])

    @property
    def width(self) -> int:
        """Columns of the output."""
        return _outputs(self.data[2], self.kernel[1], self.strides[1], self.dilation[1])

    @property
    def products(self) -> int:
        """Multiplications."""
        pixels = self.data[0] * self.height * self.width
        return pixels * self.channels * prod(self.kernel)


@dataclass(frozen=True)
class DepthwiseConv2dF32Plan:
    """How one convolution is computed. Its operands lie the same in all plans."""

    problem: DepthwiseConv2dF32Problem
    pixels: int  # neighbouring outputs computed together
    vectors: int  # of channels, computed together
    lanes: int
    pixels_inside: bool  # a row's tiles follow each other, with the same weights
    unrolled: str  # the taps that follow each other without a loop
    chunks: str  # the loops that threads share

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.problem.data

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(KH, KW, O)."""
        return *self.problem.kernel, self.problem.channels

    @staticmethod
    def from_json(text: str) -> "DepthwiseConv2dF32Plan":
        plan: DepthwiseConv2dF32Plan = from_json(
            text, DepthwiseConv2dF32Plan, DepthwiseConv2dF32Problem
        )
        return plan


def plan_depthwise_conv2d_f32(
    data: Sequence[int],
    channels: int,
    kernel: Sequence[int],
    target: Target,
    *,
    strides: Sequence[int] = (1, 1),
    dilation: Sequence[int] = (1, 1),
) -> DepthwiseConv2dF32Plan:
    """The default plan of `DepthwiseConv2dF32Problem`."""
    problem = DepthwiseConv2dF32Problem(
        data=tuple(map(int, data)),
        channels=channels,
        kernel=tuple(map(int, kernel)),
        strides=tuple(map(int, strides)),
        dilation=tuple(map(int, dilation)),
    )
    return depthwise_conv2d_f32_plan(problem, target)


def depthwise_conv2d_f32_plan(
    problem: DepthwiseConv2dF32Problem, target: Target, decisions: Decisions = DEFAULT
) -> DepthwiseConv2dF32Plan:
    """The plan with these decisions, the others by default. Raises UnknownDecision."""
    chosen = depthwise_conv2d_f32_space(problem, target).chosen(decisions)
    pixels, vectors, lanes = frozen(chosen["tile"])
    return DepthwiseConv2dF32Plan(
        problem=problem,
        pixels=pixels,
        vectors=vectors,
        lanes=lanes,
        pixels_inside=chosen["order"] == "pixels",
        unrolled=str(chosen["unroll"]),
        chunks=str(chosen["chunks"]),
    )


def depthwise_conv2d_f32_space(problem: DepthwiseConv2dF32Problem, target: Target) -> Space:
    """What may be decided. None of it changes the order in which one sum is added up."""
    tiles = [tile for lanes in lane_choices(target) for tile in _tiles(problem, lanes, target)]
    taps = prod(problem.kernel)
    rows = problem.data[0] * problem.height
    macs = rows * round_up(problem.width, tiles[0][0]) * problem.channels * taps
    return Space(
        (
            Decision("tile", tuple(tiles)),
            Decision("order", ORDERS),
            Decision("unroll", unrolled_choices(problem.kernel)),
            chunks("outer" if worth_parallel(macs, target) else "none"),
        )
    )


def _tiles(
    problem: DepthwiseConv2dF32Problem, lanes: int, target: Target
) -> list[tuple[int, int, int]]:
    """(pixels, vectors, lanes): the fewest pixels in vain first, then the largest tiles.

    Several vectors divide the channels.
    """
    most = min(target.vector_registers // 2, ACCUMULATOR_BYTES // (lanes * FLOAT_BYTES)) - 1
    return [
        (pixels, vectors, lanes)
        for vectors in divisors(problem.channels // lanes, MOST_VECTORS)
        if vectors == 1 or problem.channels % lanes == 0
        for pixels in sorted(
            range(1, most // vectors + 1), key=lambda n: (round_up(problem.width, n), -n)
        )
    ]


def pack_weights(weights: NDArray[np.float32], plan: DepthwiseConv2dF32Plan) -> NDArray[np.float32]:
    """weights (O, 1, KH, KW) as (KH, KW, O)."""
    return np.ascontiguousarray(weights[:, 0].transpose(1, 2, 0))


def random_operands(
    plan: DepthwiseConv2dF32Plan, rng: np.random.Generator
) -> tuple[NDArray[Any], ...]:
    """x and w, random and packed: the same for all plans of a problem."""
    problem = plan.problem
    x = rng.normal(size=problem.data).astype("float32")
    w = rng.normal(size=(problem.channels, 1, *problem.kernel)).astype("float32")
    return x, pack_weights(w, plan)


def depthwise_conv2d_f32(
    x: te.Tensor, w: te.Tensor, bias: te.Tensor, *, plan: DepthwiseConv2dF32Plan, layer: str
) -> te.Tensor:
    """x (N, H, W, C), w packed, bias (O,) -> (N, OH, OW, O), all float32."""
    problem = plan.problem
    (sh, sw), (dh, dw) = problem.strides, problem.dilation
    u = te.reduce_axis((0, problem.kernel[0]), name="u")
    v = te.reduce_axis((0, problem.kernel[1]), name="v")

    def sums(n: tirx.Var, i: tirx.Var, j: tirx.Var, o: tirx.Var) -> tirx.Expr:
        column = j if problem.width % plan.pixels == 0 else tirx.min(j, problem.width - 1)
        pixel = x[n, i * sh + u * dh, column * sw + v * dw, o // problem.multiplier]
        return te.sum(pixel * w[u, v, o], axis=[u, v])

    columns = round_up(problem.width, plan.pixels)
    attributes = {
        "qcompile.schedule": "depthwise_conv2d_f32",
        "qcompile.layer": layer,
        "qcompile.plan": to_json(plan),
        PROBLEM: to_json(problem),
    }
    shape = (problem.data[0], problem.height, columns, problem.channels)
    total = te.compute(shape, sums, name="depthwise_conv2d_f32", attrs=attributes)
    return te.compute(
        (problem.data[0], problem.height, problem.width, problem.channels),
        lambda n, i, j, o: total[n, i, j, o] + bias[o],
        name="depthwise_conv2d_f32_bias",
    )


def schedule_depthwise_conv2d_f32(sch: s_tir.Schedule, block: SBlockRV, target: Target) -> None:
    """Schedule the block `depthwise_conv2d_f32` and the epilogue fused behind it.

    Neighbouring pixels by vectors of channels stay in registers over all taps.
    """
    plan = DepthwiseConv2dF32Plan.from_json(str(sch.get(block).annotations["qcompile.plan"]))
    output = inline_epilogue(sch, block)
    image, i, j, o, u, v = sch.get_loops(block)
    tiles, pixel = sch.split(j, [None, plan.pixels])
    channels, vector, lane = sch.split(o, [None, plan.vectors, plan.lanes])
    inner = (channels, tiles) if plan.pixels_inside else (tiles, channels)
    sch.reorder(image, i, *inner, u, v, pixel, vector, lane)
    sch.reverse_compute_at(output, inner[1], preserve_unit_loops=True)
    if plan.chunks != "none":
        sch.parallel(sch.fuse(image, i, *(inner if plan.chunks == "tiles" else [])))
    output_pixel, output_lane = sch.get_loops(output)[-2:]
    if plan.vectors > 1:
        output_vector, output_lane = sch.split(output_lane, [None, plan.lanes])
        sch.unroll(output_vector)
    for loop in (output_lane, lane):
        sch.vectorize(loop)
    for loop in (output_pixel, pixel, vector):
        sch.unroll(loop)
    for loop in {"all": (u, v), "columns": (v,), "none": ()}[plan.unrolled]:
        sch.unroll(loop)
    sch.decompose_reduction(block, u)


def _outputs(size: int, kernel: int, stride: int, dilation: int) -> int:
    return (size - (kernel - 1) * dilation - 1) // stride + 1
