"""Products of packed rows with a constant matrix of bit planes, by a tile of sums in registers.

    y[i, o] = bias[o] + sum over planes a, b of coefficient[a][b] *
        sum over k of popcount(x[i, a, k] op w[o, b, k])

x: (M, planes, words) uint32. A 1 x 1 convolution of stride 1 is this with M = N * H * W.
"""

import json
from dataclasses import asdict, dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray
from tvm import s_tir, te, tirx
from tvm.s_tir.schedule import SBlockRV

from qcompile.schedules.bit_loops import (
    add_in_trees,
    byte_counts_of,
    in_registers,
    keep_sums_in_registers,
    split_step,
)
from qcompile.schedules.bit_product import Planes, combined, pack_planes, popcount_sum
from qcompile.schedules.bit_tile import bit_tile_cost, bit_tiles, tiles_of_word
from qcompile.schedules.epilogue import inline_epilogue, pack_at, vectorize_epilogue
from qcompile.schedules.popcount import WORD_BITS, Popcount, popcounts_of
from qcompile.schedules.tails import TILE
from qcompile.schedules.tile import SMALLEST_PARALLEL_S, Tile, round_up
from qcompile.targets import Target

TILE_LOOPS = 5  # row, plane of data, vector, plane of weights, lane


@dataclass(frozen=True)
class DenseBitsPlan:
    """Shapes of a product's operands, and the decisions on its tile and loops."""

    batch: int  # products; 0: one, whose operands have no such axis, of a constant matrix
    rows: int
    words: int
    columns: int
    planes: Planes
    popcount: Popcount
    tile_rows: int
    tile_vectors: int
    word_tiles: int  # tiles, one after the other, that make whole words of outputs
    weights_stay: bool  # a panel of weights stays in cache while all rows pass by, or the reverse
    parallel: bool

    @property
    def input_shape(self) -> tuple[int, ...]:
        return *self._batch, self.rows, self.planes.data, self.words

    @property
    def vectors(self) -> int:
        """Vectors of outputs: whole tiles."""
        return round_up(self.popcount.vectors(self.columns), self.tile_vectors)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(vectors, steps, planes, lanes, words of a step if several), after the batch if any."""
        return *self._batch, self.vectors, *self.popcount.panel(self.words, self.planes.weights)

    @property
    def _batch(self) -> tuple[int, ...]:
        return (self.batch,) if self.batch else ()

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "DenseBitsPlan":
        fields = json.loads(text)
        rows = tuple(map(tuple, fields["planes"]["coefficients"]))
        fields["planes"] = Planes(fields["planes"]["operation"], rows)
        fields["popcount"] = Popcount(**fields["popcount"])
        return DenseBitsPlan(**fields)


def plan_dense_bits(
    rows: int,
    depth: int,
    columns: int,
    planes: Planes,
    target: Target,
    batch: int = 0,
    form: str | None = None,
) -> DenseBitsPlan:
    """The default decisions for x (rows, depth) and w (columns, depth), or so many of both.

    form: of the popcount, instead of the cheapest.
    """
    words = ceil(depth / WORD_BITS)
    found = popcounts_of(target, 0 if batch else words, outputs=columns, form=form)

    def cost(choice: tuple[Popcount, Tile]) -> float:
        popcount, tile = choice
        full, rest = divmod(rows, tile.rows)
        last = Tile(rest, tile.vectors)
        return ceil(popcount.vectors(columns) / tile.vectors) * sum(
            count * bit_tile_cost(t, words, popcount, planes, target)
            for count, t in ((full, tile), (int(rest > 0), last))
        )

    popcount, best = min(
        (
            (popcount, tile)
            for popcount in found
            for tile in bit_tiles(target, popcount, planes, rows, popcount.vectors(columns))
        ),
        key=cost,
    )
    vectors = popcount.vectors(columns)
    weight_bytes = vectors * popcount.lanes * words * planes.weights * 4
    work = max(batch, 1) * cost((popcount, best)) / target.clock_hz
    return DenseBitsPlan(
        batch=batch,
        rows=rows,
        words=words,
        columns=columns,
        planes=planes,
        popcount=popcount,
        tile_rows=best.rows,
        tile_vectors=best.vectors,
        word_tiles=tiles_of_word(best, popcount, vectors),
        weights_stay=weight_bytes > target.l2_bytes // 2,
        parallel=work >= 2 * SMALLEST_PARALLEL_S,
    )


def pack_weights(planes: NDArray[np.uint8], plan: DenseBitsPlan) -> NDArray[np.uint32]:
    """Bits (planes, columns, depth) as `plan.weight_shape`, filled up with zeros."""
    lanes, step, count = plan.popcount.lanes, plan.popcount.step, plan.planes.weights
    full = np.zeros((count, plan.vectors * lanes, plan.words), "uint32")
    packed = pack_planes(planes)
    full[:, : packed.shape[1]] = packed
    split = full.reshape(count, plan.vectors, lanes, -1, step).transpose(1, 3, 0, 2, 4)
    return np.ascontiguousarray(split).reshape(plan.weight_shape)


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
    steps, word = split_step(sch, k, plan.popcount)
    io, *tile_rows = sch.split(i, [None, plan.tile_rows, *plan.planes.extents])
    vo, vw, vi = sch.split(v, [None, plan.word_tiles, plan.tile_vectors])
    outer = (vo, io) if plan.weights_stay else (io, vo)
    tile = in_registers(plan.popcount, tile_rows, vi, lane, word)
    sch.reorder(*batch, *outer, vw, steps, *tile)
    sch.reverse_compute_at(output, vw, preserve_unit_loops=True)
    pack_at(sch, output, outer[1], plan.word_tiles * plan.tile_vectors * plan.popcount.lanes)
    tiles = sch.fuse(*batch, *outer)
    sch.annotate(tiles, TILE, 1)
    if plan.parallel:
        sch.parallel(tiles)
    vectorize_epilogue(sch, output, 2, plan.popcount.lanes)
    if plan.popcount.as_tree:
        add_in_trees(sch, sums, plan.popcount, plan.planes, len(tile))
    else:
        keep_sums_in_registers(sch, sums, counts, plan.planes, TILE_LOOPS)
