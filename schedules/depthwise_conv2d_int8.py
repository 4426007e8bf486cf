"""Depthwise 2-D convolution of uint8 data with int8 weights: `depth` rows of taps at a time.

    y[n, i, j, o] = bias[o] + sum over (p, q) of
        x[n, i * s_h + p * d_h, j * s_w + q * d_w, o // multiplier] * w[o, p, q]

x is prepared: uint8, NHWC, padded in space with the zero point and up to `plan.input_shape` with
anything. bias holds all corrections for zero points. The bytes of `depth` rows are interleaved, so
that a dot product multiplies as many taps of one channel; neighbouring columns and the `tile_rows`
output rows of a tile share them, each row with weights of its own.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import s_tir, te, tirx
from tvm.s_tir.schedule import SBlockRV

from qcompile.schedules.depthwise_plan import DepthwisePlan
from qcompile.schedules.epilogue import inline_epilogue, vectorize_epilogue
from qcompile.schedules.lane_dot import (
    lane_dot_of,
    register_interleave,
    register_lane_dot,
)
from qcompile.schedules.space import PROBLEM, to_json
from qcompile.targets import Target


def pack_weights(w: NDArray[np.int8], plan: DepthwisePlan) -> NDArray[np.integer]:
    """w (O, KH, KW) as `plan.weight_shape` and type; rows that a tap does not meet have zeros."""
    if plan.turned:
        w = w.swapaxes(1, 2)
    blocks, steps, kw, tile_rows, lanes, depth = plan.weight_shape
    full = np.zeros(
        (blocks * lanes, tile_rows, steps * depth, kw), "int8" if plan.depth == 4 else "int16"
    )
    for row in range(tile_rows):
        first = row * plan.strides[0]
        full[: len(w), row, first : first + plan.kernel[0]] = w
    split = full.reshape(blocks, lanes, tile_rows, steps, depth, kw)
    return np.ascontiguousarray(split.transpose(0, 3, 5, 2, 1, 4))


def random_operands(plan: DepthwisePlan, rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
    """x and w, random and packed: the same for all plans of a problem."""
    batch, *_, channels = plan.problem.x
    codes = rng.integers(0, 256, (batch, *plan.problem.padded, channels), "uint8")
    w = rng.integers(-128, 128, plan.problem.w, "int8")
    x = np.zeros(plan.input_shape, "uint8")
    x[:, : codes.shape[1], : codes.shape[2], :channels] = codes
    return x, pack_weights(w, plan)


def depthwise_conv2d_int8(
    x: te.Tensor, w: te.Tensor, bias: te.Tensor, plan: DepthwisePlan, layer: str
) -> te.Tensor:
    """What is computed. x: `plan.input_shape`, w: `plan.weight_shape`, bias: (O,) int32.

    The result is (N, OH, OW, O) int32.
    """
    (sh, sw), (dh, dw), lanes = plan.strides, plan.dilation, plan.lanes
    height, width = plan.tiled_shape
    tiles, seen_columns = height // plan.tile_rows, (width - 1) * sw + (plan.kernel[1] - 1) * dw + 1

    def tap(n, tile, step, column, byte):  # type: ignore[no-untyped-def]
        o, k = byte // plan.depth, byte % plan.depth
        row = tile * plan.tile_rows * sh + (step * plan.depth + k) * dh
        i, j = (column, row) if plan.turned else (row, column)
        channel = o if plan.multiplier == 1 else tirx.min(o // plan.multiplier, plan.channels - 1)
        return x[n, i, j, channel].astype("uint8" if plan.depth == 4 else "int16")

    # TVM cannot place an axis of one block at a tile; a second one is never computed.
    tap_bytes = max(plan.blocks, 2) * lanes * plan.depth
    taps_shape = plan.batch, tiles, plan.steps, seen_columns, tap_bytes
    taps = te.compute(taps_shape, tap, name="taps")
    step = te.reduce_axis((0, plan.steps), "step")
    q = te.reduce_axis((0, plan.kernel[1]), "q")
    k = te.reduce_axis((0, plan.depth), "k")

    def product(n, i, j, o):  # type: ignore[no-untyped-def]
        data = taps[n, i // plan.tile_rows, step, j * sw + q * dw, o * plan.depth + k]
        weight = w[o // lanes, step, q, i % plan.tile_rows, o % lanes, k]
        return te.sum(data.astype("int32") * weight.astype("int32"), axis=[step, q, k])

    attrs = {
        "qcompile.schedule": "depthwise_conv2d_int8",
        "qcompile.layer": layer,
        "qcompile.plan": plan.to_json(),
        PROBLEM: to_json(plan.problem),
    }
    shape = plan.batch, height, width, plan.blocks * lanes
    sums = te.compute(shape, product, name="sums", attrs=attrs)
    out = plan.out_height, plan.out_width
    return te.compute(
        (plan.batch, *(reversed(out) if plan.turned else out), plan.out_channels),
        lambda n, i, j, o: sums[n, *((j, i) if plan.turned else (i, j)), o] + bias[o],
        name="biased",
    )


def schedule_depthwise_conv2d_int8(sch: s_tir.Schedule, sums: SBlockRV, target: Target) -> None:
    """How it is computed: the sums of a tile stay in registers, its taps are interleaved once."""
    plan = DepthwisePlan.from_json(str(sch.get(sums).annotations["qcompile.plan"]))
    dot = lane_dot_of(target)
    (taps,) = sch.get_producers(sums)
    output = inline_epilogue(sch, sums, taps)

    # TVM divides the loops of a block wrongly once they overlap with those of the next tile.
    _, byte = sch.split(sch.get_loops(taps)[-1], [None, plan.lanes * plan.depth])
    if plan.multiplier == 1:
        taps = sch.blockize(byte)
    n, i, j, o, step, q, k = sch.get_loops(sums)
    io, ii = sch.split(i, [None, plan.tile_rows])
    jo, ji = sch.split(j, [None, plan.tile_columns])
    oo, lane = sch.split(o, [None, plan.lanes])
    outer = (n, io, oo, jo) if plan.pixels_inside else (n, io, jo, oo)
    # TVM leaves a loop of one iteration out of what it compares to an instruction's meaning.
    inside = (lane, k) if plan.depth > 1 else (k, lane)
    sch.reorder(*outer, step, q, ii, ji, *inside)
    sch.compute_at(taps, step, preserve_unit_loops=True)
    for loop in sch.get_loops(taps)[5:]:
        sch.unroll(loop)
    if plan.multiplier == 1:
        sch.tensorize(taps, register_interleave(dot, plan.dilation[0], plan.turned))
    sch.reverse_compute_at(output, outer[-1], preserve_unit_loops=True)
    if plan.chunks != "none":
        sch.parallel(sch.fuse(*(outer[:-1] if plan.chunks == "outer" else outer)))
    vectorize_epilogue(sch, output, 4, plan.lanes)

    init = sch.decompose_reduction(sums, step)
    *others, lanes = sch.get_loops(init)[-3:]
    sch.vectorize(lanes)
    for loop in others:
        sch.unroll(loop)
    sch.tensorize(lane, register_lane_dot(dot))
    for loop in (*([step] if plan.unrolled else []), q, ii, ji):
        sch.unroll(loop)
