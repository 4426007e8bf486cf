"""2-D convolution of bit planes, by a tile of sums of popcounts in registers.

    y[n, i, j, o] = bias + sum over planes a, b of coefficient[a][b] * sum over (p, q, k) of
        popcount(x[n, i * s_h + p * d_h, j * s_w + q * d_w, a, g * words + k] op w[o, b, p, q, k])

x: (N, H, W, planes, words) uint32, padded in space with any code; the channels of a group g start
at a new word. bias: (O,), or (row classes, column classes, O) where padding stands for a value that
has no code: outputs that see it have a bias of their own (`Conv2dBitsPlan.classes`).
"""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import s_tir, te, tirx
from tvm.s_tir.schedule import SBlockRV

from qcompile.schedules.bit_loops import (
    add_in_trees,
    byte_counts_of,
    in_registers,
    keep_sums_in_registers,
    split_words,
)
from qcompile.schedules.bit_product import combined, pack_planes, popcount_sum
from qcompile.schedules.conv2d_bits_plan import Conv2dBitsPlan
from qcompile.schedules.elementwise import schedule_elementwise
from qcompile.schedules.epilogue import inline_epilogue, pack_at, vectorize_epilogue
from qcompile.schedules.small_integers import told
from qcompile.schedules.space import OPTIONS, PROBLEM, to_json
from qcompile.schedules.tile import round_up
from qcompile.targets import Target

TILE_LOOPS = 6  # row, column, plane of data, vector, plane of weights, lane


def pack_weights(planes: NDArray[np.uint8], plan: Conv2dBitsPlan) -> NDArray[np.uint32]:
    """Bits (planes, O, KH, KW, C / groups) as `plan.weight_shape`, filled up with zeros."""
    (kh, kw), words, count = plan.kernel, plan.words, plan.planes.weights
    lanes, step = plan.popcount.lanes, plan.popcount.step
    grouped = pack_planes(planes).reshape(count, plan.groups, -1, kh, kw, words)
    full = np.zeros((count, plan.groups, plan.group_vectors * lanes, kh, kw, words), "uint32")
    full[:, :, : grouped.shape[2]] = grouped
    split = full.reshape(count, -1, lanes, kh, kw, words // step, step)
    return np.ascontiguousarray(split.transpose(1, 3, 4, 5, 0, 2, 6)).reshape(plan.weight_shape)


def random_operands(plan: Conv2dBitsPlan, rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
    """x and w, random and packed: the same for all plans of a problem."""
    problem, count = plan.problem, plan.planes.weights
    batch, *_, channels = problem.x
    data = batch, *problem.image.padded, plan.planes.data, plan.groups, channels // plan.groups
    bits, w = (rng.integers(0, 2, shape, "uint8") for shape in (data, (count, *problem.w)))
    x = np.zeros(plan.input_shape, "uint32")
    x[:, :, : data[2]] = pack_planes(bits).reshape(*data[:4], -1)
    return x, pack_weights(w, plan)


def conv2d_bits(
    x: te.Tensor,
    w: te.Tensor,
    bias: te.Tensor,
    plan: Conv2dBitsPlan,
    layer: str,
    unit: int = 1,
    is_small: bool = False,
) -> te.Tensor:
    """What is computed. x: `plan.input_shape`, w: `plan.weight_shape`, both uint32.

    unit: what all coefficients are divided by; is_small: whether the result is (`small_integers`).

    The result is (N, OH, OW, O), of the type of bias: int32, or float32 with coefficients that are
    no integers.
    """
    planes, lanes = plan.planes, plan.popcount.lanes

    def product(
        n: tirx.Var, i: tirx.Var, jab: tirx.Var, v: tirx.Var, lane: tirx.Var, *at: tirx.Expr
    ) -> tirx.Expr:
        (p, q, k), (j, a, b) = at, planes.split(jab)
        row = i * plan.strides[0] + p * plan.dilation[0]
        column = j * plan.strides[1] + q * plan.dilation[1]
        word = v // plan.group_vectors * plan.words + k
        weight = w[(v, p, q, *plan.popcount.weight(k, b, lane))]
        return planes.product(x[n, row, column, a, word], weight)

    attrs = {
        "qcompile.schedule": "conv2d_bits",
        "qcompile.layer": layer,
        "qcompile.plan": plan.to_json(),
        PROBLEM: to_json(plan.problem),
        OPTIONS: json.dumps({"unit": unit, "is_small": is_small}),
    }
    columns = round_up(plan.out_width, plan.tile_columns)
    vectors = plan.groups * plan.group_vectors
    rows = plan.batch, plan.out_height, columns * planes.pairs
    words = [("p", plan.kernel[0]), ("q", plan.kernel[1]), ("k", plan.words)]
    sums = popcount_sum(plan.popcount, (*rows, vectors, lanes), words, product, attrs)

    def biased(n: tirx.Var, i: tirx.Var, j: tirx.Var, o: tirx.Var) -> tirx.Expr:
        position = o
        if not plan.in_order:
            size = plan.out_channels // plan.groups
            position = o // size * (plan.group_vectors * lanes) + o % size
        own = bias[o] if bias.ndim == 1 else bias[(*_classes(plan, i, j), o)]
        v, lane = position // lanes, position % lanes
        total = combined(planes, own, lambda pair: sums[n, i, pair(j), v, lane], unit)
        return told(total, is_small)

    shape = plan.batch, plan.out_height, plan.out_width, plan.out_channels
    return te.compute(shape, biased, name="biased")


def _classes(plan: Conv2dBitsPlan, i: tirx.Var, j: tirx.Var) -> tuple[tirx.Expr, tirx.Expr]:
    """The classes of an output's row and column."""
    top, left, bottom, right = plan.border

    def of(index: tirx.Var, size: int, first: int, last: int) -> tirx.Expr:
        zero = tirx.const(0, index.ty)
        return tirx.min(index, first) + tirx.max(index - (size - last) + 1, zero)

    return of(i, plan.out_height, top, bottom), of(j, plan.out_width, left, right)


def schedule_conv2d_bits(sch: s_tir.Schedule, sums: SBlockRV, target: Target) -> None:
    """How it is computed: a tile of sums stays in registers through the whole reduction."""
    plan = Conv2dBitsPlan.from_json(str(sch.get(sums).annotations["qcompile.plan"]))
    counts = byte_counts_of(sch, sums)
    output = inline_epilogue(sch, sums, *counts)

    n, i, j, v, lane, *positions, k = sch.get_loops(sums)
    first, steps, word = split_words(sch, k, plan, plan.split)
    io, ii = sch.split(i, [None, plan.tile_rows])
    jo, *tile_columns = sch.split(j, [None, plan.tile_columns, *plan.planes.extents])
    vo, vw, vi = sch.split(v, [None, plan.word_tiles, plan.tile_vectors])
    outer = (vo, n, io) if plan.weights_stay else (n, io, vo)
    tile = in_registers(plan.popcount, [ii, *tile_columns], vi, lane, word)
    sch.reorder(*outer, jo, vw, first, *positions, *steps, *tile)
    if plan.in_order:
        sch.reverse_compute_at(output, vw, preserve_unit_loops=True)
        pack_at(sch, output, jo, plan.word_tiles * plan.tile_vectors * plan.popcount.lanes)
    if plan.parallel:
        sch.parallel(sch.fuse(*outer, *([jo] if plan.chunks == "tiles" else [])))
    if plan.in_order:
        vectorize_epilogue(sch, output, 3, plan.popcount.lanes)
        if plan.popcount.as_tree:
            add_in_trees(sch, sums, plan, first, len(tile))
        else:
            keep_sums_in_registers(sch, sums, counts, plan, first, TILE_LOOPS)
    else:
        schedule_elementwise(sch, output, target)
        keep_sums_in_registers(sch, sums, counts, plan, first, TILE_LOOPS, "global")
    for loop in steps[1:]:
        sch.unroll(loop)
