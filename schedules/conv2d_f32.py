"""Two-dimensional convolution with packed weights, float32, channels last.

y[n, i, j, o] = bias[o] + sum x[n, i*s + u*d, j*s + v*d, c] * w[o, u, v, c] over u, v, c; with
groups, c runs over the channels of the group of o. x is already padded.

Groups that are not whole vectors are computed as fewer that are, with zero weights between them:
a tile that reached into the next group would write its outputs too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import s_tir, te, tirx
from tvm.s_tir.schedule import SBlockRV

from qcompile.schedules.space import DEFAULT, PROBLEM, Decisions, Space, to_json
from qcompile.schedules.tile_f32 import (
    Loops,
    Tile,
    clamped,
    keep_tile_in_registers,
    lane_choices,
    lanes_of,
    loops_f32,
    pack_columns,
    padded_rows,
    plan_parts,
    space_f32,
    tiles_f32,
    worth_parallel,
)
from qcompile.targets import Target


@dataclass(frozen=True)
class Conv2dF32Problem:
    """What is computed: padded data (N, H, W, C), weights (channels, C / groups, *kernel)."""

    data: tuple[int, ...]
    channels: int
    kernel: tuple[int, ...]
    strides: tuple[int, ...] = (1, 1)
    dilation: tuple[int, ...] = (1, 1)
    groups: int = 1

    @property
    def height(self) -> int:
        """Rows of the output."""
        return _outputs(self.data[1], self.kernel[0], self.strides[0], self.dilation[0])

    @property
    def width(self) -> int:
        """Columns of the output."""
        return _outputs(self.data[2], self.kernel[1], self.strides[1], self.dilation[1])

    def merged(self, lanes: int) -> int:
        """The most groups that are whole vectors; 1 if there are none such."""
        divisors = [n for n in range(1, self.groups + 1) if self.groups % n == 0]
        return max(n for n in divisors if n == 1 or self.channels // n % lanes == 0)

    @property
    def products(self) -> int:
        """Multiplications, those with zeros between merged groups not counted."""
        batch, *_, channels = self.data
        each = prod(self.kernel) * channels // self.groups
        return batch * self.height * self.width * self.channels * each


@dataclass(frozen=True)
class Conv2dF32Plan:
    """How one convolution is computed; `pack_weights` and `conv2d_f32` must be given the same."""

    problem: Conv2dF32Problem
    loops: Loops

    @property
    def tile(self) -> Tile:
        return self.loops.tile

    @property
    def groups(self) -> int:
        """As computed; each may hold several of the weights' groups."""
        return self.problem.merged(self.tile.lanes)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.problem.data

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(groups, blocks, KH, KW, depth, lanes)."""
        problem, groups = self.problem, self.groups
        blocks = self.tile.blocks(problem.channels // groups)
        return groups, blocks, *problem.kernel, problem.data[3] // groups, self.tile.lanes

    @staticmethod
    def from_json(text: str) -> "Conv2dF32Plan":
        return Conv2dF32Plan(*plan_parts(text, Conv2dF32Problem))


def plan_conv2d_f32(
    data: Sequence[int],
    channels: int,
    kernel: Sequence[int],
    target: Target,
    *,
    strides: Sequence[int] = (1, 1),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> Conv2dF32Plan:
    """The default plan of `Conv2dF32Problem`."""
    problem = Conv2dF32Problem(
        data=tuple(map(int, data)),
        channels=channels,
        kernel=tuple(map(int, kernel)),
        strides=tuple(map(int, strides)),
        dilation=tuple(map(int, dilation)),
        groups=groups,
    )
    return conv2d_f32_plan(problem, target)


def conv2d_f32_plan(
    problem: Conv2dF32Problem, target: Target, decisions: Decisions = DEFAULT
) -> Conv2dF32Plan:
    """The plan with these decisions, the others by default. Raises UnknownDecision."""
    return Conv2dF32Plan(problem, loops_f32(conv2d_f32_space(problem, target), decisions))


def conv2d_f32_space(problem: Conv2dF32Problem, target: Target) -> Space:
    """What may be decided."""
    tiles, sizes, depths = [], [], []
    for lanes in lane_choices(target):
        groups = problem.merged(lanes)
        columns = problem.channels // groups
        tiles.append(tiles_f32(problem.width, columns, lanes, target, whole=groups > 1))
        sizes.append((problem.width, columns))
        depths.append(problem.data[3] // groups)
    groups = problem.merged(lanes_of(target))
    sums = groups * tiles[0][0].computed(problem.width, problem.channels // groups)
    macs = problem.data[0] * problem.height * sums * prod(problem.kernel) * depths[0]
    return space_f32(tiles, sizes, depths, worth_parallel(macs, target))


def pack_weights(weights: NDArray[np.float32], plan: Conv2dF32Plan) -> NDArray[np.float32]:
    """weights (O, C/groups, KH, KW) as (plan.groups, blocks, KH, KW, depth, lanes), zero padded."""
    channels, narrow, height, width = weights.shape
    depth = plan.problem.data[3] // plan.groups
    merged = depth // narrow  # groups of the weights in one group of the plan
    outputs = channels // (plan.groups * merged)
    shape = (plan.groups, merged, outputs, height, width)
    wide = np.zeros((*shape, merged, narrow), "float32")
    for k in range(merged):
        part = weights.reshape(*shape[:3], narrow, height, width)[:, k]
        wide[:, k, :, :, :, k] = part.transpose(0, 1, 3, 4, 2)
    packed = pack_columns(wide.reshape(plan.groups, merged * outputs, -1), plan.tile)
    return packed.reshape(plan.groups, -1, height, width, depth, plan.tile.lanes)


def random_operands(plan: Conv2dF32Plan, rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
    """x and w, random and packed: the same for all plans of a problem."""
    problem = plan.problem
    x = rng.normal(size=problem.data).astype("float32")
    shape = (problem.channels, problem.data[3] // problem.groups, *problem.kernel)
    return x, pack_weights(rng.normal(size=shape).astype("float32"), plan)


def conv2d_f32(
    x: te.Tensor, w: te.Tensor, bias: te.Tensor, *, plan: Conv2dF32Plan, layer: str
) -> te.Tensor:
    """x (N, H, W, C), w packed, bias (O,) -> (N, OH, OW, O), all float32."""
    problem = plan.problem
    (sh, sw), (dh, dw) = problem.strides, problem.dilation
    batch, lanes = problem.data[0], plan.tile.lanes
    depth, group_channels = problem.data[3] // plan.groups, problem.channels // plan.groups
    u = te.reduce_axis((0, problem.kernel[0]), name="u")
    v = te.reduce_axis((0, problem.kernel[1]), name="v")
    c = te.reduce_axis((0, depth), name="c")

    def sums(g: tirx.Var, n: tirx.Var, i: tirx.Var, j: tirx.Var, o: tirx.Var) -> tirx.Expr:
        column = clamped(j, problem.width, plan.tile)
        pixel = x[n, i * sh + u * dh, column * sw + v * dw, g * depth + c]
        return te.sum(pixel * w[g, o // lanes, u, v, c, o % lanes], axis=[u, v, c])

    columns = padded_rows(problem.width, plan.tile)
    attributes = {
        "qcompile.schedule": "conv2d_f32",
        "qcompile.layer": layer,
        "qcompile.plan": to_json(plan),
        PROBLEM: to_json(problem),
    }
    shape = (plan.groups, batch, problem.height, columns, int(w.shape[1]) * lanes)
    total = te.compute(shape, sums, name="conv2d_f32", attrs=attributes)
    return te.compute(
        (batch, problem.height, problem.width, problem.channels),
        lambda n, i, j, o: total[o // group_channels, n, i, j, o % group_channels] + bias[o],
        name="conv2d_f32_bias",
    )


def schedule_conv2d_f32(sch: s_tir.Schedule, block: SBlockRV, target: Target) -> None:
    """Schedule the block `conv2d_f32` and the epilogue fused behind it."""
    plan = Conv2dF32Plan.from_json(str(sch.get(block).annotations["qcompile.plan"]))
    keep_tile_in_registers(sch, block, 1, 5, plan.loops)


def _outputs(size: int, kernel: int, stride: int, dilation: int) -> int:
    return (size - (kernel - 1) * dilation - 1) // stride + 1
