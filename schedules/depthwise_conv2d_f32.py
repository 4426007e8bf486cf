"""Depthwise two-dimensional convolution, float32, channels last.

y[n, i, j, o] = bias[o] + sum x[n, i*s + u*d, j*s + v*d, o / multiplier] * w[o, u, v] over u, v.
x is already padded; `multiplier` outputs share one channel of x.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tvm import s_tir, te, tirx
from tvm.s_tir.schedule import SBlockRV

from qcompile.schedules.epilogue import inline_epilogue
from qcompile.schedules.tile_f32 import lanes_of, worth_parallel
from qcompile.targets import Target

ACCUMULATOR_BYTES = 1024  # fewer stay in registers when the taps are unrolled
UNROLLED_TAPS = 25


@dataclass(frozen=True)
class DepthwiseConv2dF32Plan:
    """How one convolution is computed; `pack_weights` and the compute must be given the same."""

    data: tuple[int, int, int, int]  # N, H, W, C of the padded input
    multiplier: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilation: tuple[int, int]
    pixels: int  # neighbouring outputs computed together
    lanes: int

    @property
    def channels(self) -> int:
        """Of the output."""
        return self.data[3] * self.multiplier

    @property
    def height(self) -> int:
        """Rows of the output."""
        return _outputs(self.data[1], self.kernel[0], self.strides[0], self.dilation[0])

    @property
    def width(self) -> int:
        """Columns of the output."""
        return _outputs(self.data[2], self.kernel[1], self.strides[1], self.dilation[1])


def plan_depthwise_conv2d_f32(
    data: tuple[int, int, int, int],
    channels: int,
    kernel: tuple[int, int],
    target: Target,
    *,
    strides: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
) -> DepthwiseConv2dF32Plan:
    """The plan for padded data (N, H, W, C) and weights (channels, 1, KH, KW)."""
    width = _outputs(data[2], kernel[1], strides[1], dilation[1])
    most = min(target.vector_registers // 2, ACCUMULATOR_BYTES // target.vector_bytes) - 1
    pixels = min(range(1, most + 1), key=lambda n: (-(-width // n) * n, -n))
    multiplier = channels // data[3]
    return DepthwiseConv2dF32Plan(
        data, multiplier, kernel, strides, dilation, pixels, lanes_of(target)
    )


def pack_weights(weights: NDArray[np.float32], plan: DepthwiseConv2dF32Plan) -> NDArray[np.float32]:
    """weights (O, 1, KH, KW) as (KH, KW, O)."""
    return np.ascontiguousarray(weights[:, 0].transpose(1, 2, 0))


def depthwise_conv2d_f32(
    x: te.Tensor, w: te.Tensor, bias: te.Tensor, *, plan: DepthwiseConv2dF32Plan, layer: str
) -> te.Tensor:
    """x (N, H, W, C), w packed, bias (O,) -> (N, OH, OW, O), all float32."""
    (sh, sw), (dh, dw) = plan.strides, plan.dilation
    u = te.reduce_axis((0, plan.kernel[0]), name="u")
    v = te.reduce_axis((0, plan.kernel[1]), name="v")

    def sums(n: tirx.Var, i: tirx.Var, j: tirx.Var, o: tirx.Var) -> tirx.Expr:
        column = j if plan.width % plan.pixels == 0 else tirx.min(j, plan.width - 1)
        pixel = x[n, i * sh + u * dh, column * sw + v * dw, o // plan.multiplier]
        return te.sum(pixel * w[u, v, o], axis=[u, v])

    columns = -(-plan.width // plan.pixels) * plan.pixels
    attributes = {
        "qcompile.schedule": "depthwise_conv2d_f32",
        "qcompile.layer": layer,
        "qcompile.pixels": plan.pixels,
    }
    shape = (plan.data[0], plan.height, columns, plan.channels)
    total = te.compute(shape, sums, name="depthwise_conv2d_f32", attrs=attributes)
    return te.compute(
        (plan.data[0], plan.height, plan.width, plan.channels),
        lambda n, i, j, o: total[n, i, j, o] + bias[o],
        name="depthwise_conv2d_f32_bias",
    )


def schedule_depthwise_conv2d_f32(sch: s_tir.Schedule, block: SBlockRV, target: Target) -> None:
    """Schedule the block `depthwise_conv2d_f32` and the epilogue fused behind it.

    Neighbouring pixels by one vector of channels stay in registers over all taps.
    """
    lanes = lanes_of(target)
    pixels = int(sch.get(block).annotations["qcompile.pixels"])
    taps = [int(axis.dom.extent) for axis in sch.get(block).iter_vars[-2:]]
    output = inline_epilogue(sch, block)
    parallel = worth_parallel(sch, block, target)
    image, i, j, o, u, v = sch.get_loops(block)
    tiles, pixel = sch.split(j, [None, pixels])
    vectors, lane = sch.split(o, [None, lanes])
    sch.reorder(image, i, tiles, vectors, u, v, pixel, lane)
    sch.reverse_compute_at(output, vectors, preserve_unit_loops=True)
    rows = sch.fuse(image, i)
    if parallel:
        sch.parallel(rows)
    output_pixel, output_lane = sch.get_loops(output)[-2:]
    for loop in (output_lane, lane):
        sch.vectorize(loop)
    for loop in (output_pixel, pixel):
        sch.unroll(loop)
    if taps[0] * taps[1] <= UNROLLED_TAPS:
        sch.unroll(u)
        sch.unroll(v)
    sch.decompose_reduction(block, u)


def _outputs(size: int, kernel: int, stride: int, dilation: int) -> int:
    return (size - (kernel - 1) * dilation - 1) // stride + 1
