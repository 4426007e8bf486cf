"""Products of packed rows with a constant matrix of bit planes, by a tile of sums in registers.

    y[i, o] = bias[o] + sum over planes a, b of coefficient[a][b] *
        sum over k of popcount(x[i, a, k] op w[o, b, k])

x: (M, planes, words) uint32. A 1 x 1 convolution of stride 1 is this with M = N * H * W.
"""

from dataclasses import replace
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
from qcompile.schedules.dense_bits_plan import DenseBitsPlan
from qcompile.schedules.epilogue import inline_epilogue, pack_at, vectorize_epilogue
from qcompile.schedules.space import PROBLEM, to_json
from qcompile.schedules.tails import TILE
from qcompile.targets import Target

TILE_LOOPS = 5  # row, plane of data, vector, plane of weights, lane


def pack_weights(planes: NDArray[np.uint8], plan: DenseBitsPlan) -> NDArray[np.uint32]:
    """Bits (planes, columns, depth) as `plan.weight_shape`, filled up with zeros."""
    lanes, step, count = plan.popcount.lanes, plan.popcount.step, plan.planes.weights
    full = np.zeros((count, plan.vectors * lanes, plan.words), "uint32")
    packed = pack_planes(planes)
    full[:, : packed.shape[1]] = packed
    split = full.reshape(count, plan.vectors, lanes, -1, step).transpose(1, 3, 0, 2, 4)
    return np.ascontiguousarray(split).reshape(plan.weight_shape)


def random_operands(plan: DenseBitsPlan, rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
    """x and w, random and packed: the same for all plans of a problem."""
    problem, planes = plan.problem, plan.planes
    depth, batches = problem.depth, (problem.batch,) if problem.batch else ()
    x = rng.integers(0, 2, (*batches, problem.rows, planes.data, depth), "uint8")
    w = rng.integers(0, 2, (*batches, planes.weights, problem.columns, depth), "uint8")
    if not batches:
        return pack_planes(x), pack_weights(w, plan)
    one = replace(plan, batch=0)
    return pack_planes(x), np.stack([pack_weights(each, one) for each in w])


def dense_bits(
    x: te.Tensor, w: te.Tensor, bias: te.Tensor, plan: DenseBitsPlan, layer: str
) -> te.Tensor:
    """What is computed. x: `plan.input_shape`, w: `plan.weight_shape`, bias: (columns,) int32.

    The result is (rows, columns) int32; with coefficients that are no integers, it and bias are
    float32.
    """
    planes, lanes = plan.planes, plan.popcount.lanes

    def product(row: tirx.Var, v: tirx.Var, lane: tirx.Var, k: tirx.Expr) -> tirx.Expr:
        i, a, b = planes.split(row)
        return planes.product(x[i, a, k], w[(v, *plan.popcount.weight(k, b, lane))])

    attrs = {
        "qcompile.schedule": "dense_bits",
        "qcompile.layer": layer,
        "qcompile.plan": plan.to_json(),
        PROBLEM: to_json(plan.problem),
    }
    shape = plan.rows * planes.pairs, plan.vectors, lanes
    sums = popcount_sum(plan.popcount, shape, [("k", plan.words)], product, attrs)

    def biased(i: tirx.Var, o: tirx.Var) -> tirx.Expr:
        return combined(planes, bias[o], lambda pair: sums[pair(i), o // lanes, o % lanes])

    return te.compute((plan.rows, plan.columns), biased, name="biased")


def schedule_dense_bits(sch: s_tir.Schedule, sums: SBlockRV, target: Target) -> None:
    """How it is computed: a tile of sums stays in registers through the whole reduction."""
    plan = DenseBitsPlan.from_json(str(sch.get(sums).annotations["qcompile.plan"]))
    counts = byte_counts_of(sch, sums)
    output = inline_epilogue(sch, sums, *counts)
    *batch, i, v, lane, k = sch.get_loops(sums)
    first, steps, word = split_words(sch, k, plan)
    io, *tile_rows = sch.split(i, [None, plan.tile_rows, *plan.planes.extents])
    vo, vw, vi = sch.split(v, [None, plan.word_tiles, plan.tile_vectors])
    outer = (vo, io) if plan.weights_stay else (io, vo)
    tile = in_registers(plan.popcount, tile_rows, vi, lane, word)
    sch.reorder(*batch, *outer, vw, first, *steps, *tile)
    sch.reverse_compute_at(output, vw, preserve_unit_loops=True)
    pack_at(sch, output, outer[1], plan.word_tiles * plan.tile_vectors * plan.popcount.lanes)
    if plan.chunks == "outer":
        tiles = outer[1]
        sch.parallel(sch.fuse(*batch, outer[0]))
    else:
        tiles = sch.fuse(*batch, *outer)
    sch.annotate(tiles, TILE, 1)
    if plan.chunks == "tiles":
        sch.parallel(tiles)
    vectorize_epilogue(sch, output, 2, plan.popcount.lanes)
    if plan.popcount.as_tree:
        add_in_trees(sch, sums, plan, first, len(tile))
    else:
        keep_sums_in_registers(sch, sums, counts, plan, first, TILE_LOOPS)
    for loop in steps[1:]:
        sch.unroll(loop)
