"""Two-dimensional convolution with packed weights, float32, channels last.

y[n, i, j, o] = bias[o] + sum x[n, i*s + u*d, j*s + v*d, c] * w[o, u, v, c] over u, v, c; with
groups, c runs over the channels of the group of o. x is already padded.

Groups that are not whole vectors are computed as fewer that are, with zero weights between them:
a tile that reached into the next group would write its outputs too.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tvm import s_tir, te, tirx
from tvm.s_tir.schedule import SBlockRV

from qcompile.schedules.tile_f32 import (
    Tile,
    choose_tile,
    clamped,
    keep_tile_in_registers,
    lanes_of,
    pack_columns,
    padded_rows,
)
from qcompile.targets import Target


@dataclass(frozen=True)
class Conv2dF32Plan:
    """How one convolution is computed; `pack_weights` and `conv2d_f32` must be given the same."""

    data: tuple[int, int, int, int]  # N, H, W, C of the padded input
    channels: int  # of the output
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilation: tuple[int, int]
    groups: int  # as computed; each may hold several of the weights' groups
    tile: Tile

    @property
    def height(self) -> int:
        """Rows of the output."""
        return _outputs(self.data[1], self.kernel[0], self.strides[0], self.dilation[0])

    @property
    def width(self) -> int:
        """Columns of the output."""
        return _outputs(self.data[2], self.kernel[1], self.strides[1], self.dilation[1])


def plan_conv2d_f32(
    data: tuple[int, int, int, int],
    channels: int,
    kernel: tuple[int, int],
    target: Target,
    *,
    strides: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> Conv2dF32Plan:
    """The plan for padded data (N, H, W, C) and weights (channels, C/groups, KH, KW)."""
    width = _outputs(data[2], kernel[1], strides[1], dilation[1])
    groups = _merged(groups, channels, lanes_of(target))
    tile = choose_tile(width, channels // groups, target, whole=groups > 1)
    return Conv2dF32Plan(data, channels, kernel, strides, dilation, groups, tile)


def pack_weights(weights: NDArray[np.float32], plan: Conv2dF32Plan) -> NDArray[np.float32]:
    """weights (O, C/groups, KH, KW) as (plan.groups, blocks, KH, KW, depth, lanes), zero padded."""
    channels, narrow, height, width = weights.shape
    depth = plan.data[3] // plan.groups
    merged = depth // narrow  # groups of the weights in one group of the plan
    outputs = channels // (plan.groups * merged)
    shape = (plan.groups, merged, outputs, height, width)
    wide = np.zeros((*shape, merged, narrow), "float32")
    for k in range(merged):
        part = weights.reshape(*shape[:3], narrow, height, width)[:, k]
        wide[:, k, :, :, :, k] = part.transpose(0, 1, 3, 4, 2)
    packed = pack_columns(wide.reshape(plan.groups, merged * outputs, -1), plan.tile)
    return packed.reshape(plan.groups, -1, height, width, depth, plan.tile.lanes)


def conv2d_f32(
    x: te.Tensor, w: te.Tensor, bias: te.Tensor, *, plan: Conv2dF32Plan, layer: str
) -> te.Tensor:
    """x (N, H, W, C), w packed, bias (O,) -> (N, OH, OW, O), all float32."""
    (sh, sw), (dh, dw) = plan.strides, plan.dilation
    batch, lanes = plan.data[0], plan.tile.lanes
    depth, group_channels = plan.data[3] // plan.groups, plan.channels // plan.groups
    u = te.reduce_axis((0, plan.kernel[0]), name="u")
    v = te.reduce_axis((0, plan.kernel[1]), name="v")
    c = te.reduce_axis((0, depth), name="c")

    def sums(g: tirx.Var, n: tirx.Var, i: tirx.Var, j: tirx.Var, o: tirx.Var) -> tirx.Expr:
        column = clamped(j, plan.width, plan.tile)
        pixel = x[n, i * sh + u * dh, column * sw + v * dw, g * depth + c]
        return te.sum(pixel * w[g, o // lanes, u, v, c, o % lanes], axis=[u, v, c])

    columns = padded_rows(plan.width, plan.tile)
    attributes = {
        "qcompile.schedule": "conv2d_f32",
        "qcompile.layer": layer,
        "qcompile.tile": [plan.tile.rows, plan.tile.vectors, lanes],
    }
    shape = (plan.groups, batch, plan.height, columns, int(w.shape[1]) * lanes)
    total = te.compute(shape, sums, name="conv2d_f32", attrs=attributes)
    return te.compute(
        (batch, plan.height, plan.width, plan.channels),
        lambda n, i, j, o: total[o // group_channels, n, i, j, o % group_channels] + bias[o],
        name="conv2d_f32_bias",
    )


def schedule_conv2d_f32(sch: s_tir.Schedule, block: SBlockRV, target: Target) -> None:
    """Schedule the block `conv2d_f32` and the epilogue fused behind it."""
    keep_tile_in_registers(sch, block, 1, 5, target)


def _outputs(size: int, kernel: int, stride: int, dilation: int) -> int:
    return (size - (kernel - 1) * dilation - 1) // stride + 1


def _merged(groups: int, channels: int, lanes: int) -> int:
    """The most groups that are whole vectors; 1 if there are none such."""
    divisors = [n for n in range(1, groups + 1) if groups % n == 0]
    return max(n for n in divisors if n == 1 or channels // n % lanes == 0)
