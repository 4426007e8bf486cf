"""Products of uint8 rows with a constant int8 matrix, by a tile of sums in registers.

    y[i, o] = bias[o] + sum over k of x[i, k] * w[o, k]

x: (M, K) uint8, K whole steps (filled up with anything). bias holds all corrections for
zero points. A 1 x 1 convolution of stride 1 is this with M = N * H * W.
"""

from dataclasses import dataclass, replace
from math import ceil
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from tvm import s_tir, te
from tvm.s_tir.schedule import SBlockRV

from qcompile.schedules.dot import Dot, factor
from qcompile.schedules.dot_loops import DotLoops
from qcompile.schedules.epilogue import inline_epilogue, pack_at, vectorize_epilogue
from qcompile.schedules.intrinsics import dots_of
from qcompile.schedules.space import (
    DEFAULT,
    MOST_UNROLLED,
    ORDERS,
    PROBLEM,
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
from qcompile.schedules.tails import TILE
from qcompile.schedules.tile import (
    MOST_TILES,
    Tile,
    round_up,
    tile_cost,
    tiles,
    worth_threads,
)
from qcompile.targets import Target


@dataclass(frozen=True)
class DenseProblem:
    """What is computed: x (rows, depth) times w (columns, depth), or `batch` of both.

    narrow: no weight is -128. pairs: rows may be taken two at a time.
    """

    rows: int
    depth: int
    columns: int
    batch: int = 0
    narrow: bool = False
    pairs: bool = True

    @property
    def products(self) -> int:
        """Multiplications."""
        return max(self.batch, 1) * self.rows * self.depth * self.columns


@dataclass(frozen=True)
class DensePlan:
    """Shapes of a product's operands, and the decisions on its tile and loops."""

    problem: DenseProblem
    batch: int  # products; 0: one, whose operands have no such axis, of a constant matrix
    rows: int
    steps: int
    columns: int
    dot: str  # the name of the dot product
    lanes: int
    depth: int
    together: int  # steps at once
    parts: int  # partial sums of each sum
    offset: int
    tile_rows: int
    tile_vectors: int
    unroll: int  # groups of steps that follow each other without a loop
    weights_stay: bool  # a panel of weights stays in cache while all rows pass by, or the reverse
    chunks: str  # the loops that threads share

    @property
    def parallel(self) -> bool:
        """Whether threads share the work."""
        return self.chunks != "none"

    @property
    def input_shape(self) -> tuple[int, ...]:
        return *self._batch, self.rows, self.steps * self.depth

    @property
    def vectors(self) -> int:
        """Vectors of outputs: whole tiles."""
        return round_up(ceil(self.columns / self.lanes), self.tile_vectors)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(vectors, steps, lanes, depth), after the batch if there is one."""
        return *self._batch, self.vectors, self.steps, self.lanes, self.depth

    @property
    def _batch(self) -> tuple[int, ...]:
        return (self.batch,) if self.batch else ()

    @staticmethod
    def from_json(text: str) -> "DensePlan":
        plan: DensePlan = from_json(text, DensePlan, DenseProblem)
        return plan


def plan_dense(
    rows: int,
    depth: int,
    columns: int,
    target: Target,
    batch: int = 0,
    narrow: bool = False,
    pairs: bool = True,
) -> DensePlan:
    """The default plan of `DenseProblem`."""
    return dense_plan(DenseProblem(rows, depth, columns, batch, narrow, pairs), target)


def dense_plan(problem: DenseProblem, target: Target, decisions: Decisions = DEFAULT) -> DensePlan:
    """The plan with these decisions, the others by default. Raises UnknownDecision."""
    chosen = dense_space(problem, target).chosen(decisions)
    name, rows, vectors = frozen(chosen["tile"])
    dot = next(dot for dot in _dots(problem, target) if dot.name == name)
    plan = _plan(problem, dot, Tile(rows, vectors), target)
    return replace(
        plan,
        weights_stay=chosen["order"] == "weights",
        unroll=cast(int, chosen["unroll"]),
        chunks=str(chosen["chunks"]),
    )


def dense_space(problem: DenseProblem, target: Target) -> Space:
    """What may be decided: instruction and tile, the order of the loops, how the sums run, threads.

    Tiles for which x would be wider than by default are left out: it would be copied.
    """
    choices = [
        (dot, tile, cost)
        for dot in _dots(problem, target)
        for tile, cost in _tiles(problem, dot, target)[:MOST_TILES]
    ]
    choices.sort(key=lambda each: each[2])
    dot, tile, _ = choices[0]
    plan = _plan(problem, dot, tile, target)
    width = plan.steps * plan.depth
    choices = [each for each in choices if round_up(problem.depth, each[0].unit) == width]
    return Space(
        (
            Decision(
                "tile",
                tuple((dot.name, tile.rows, tile.vectors) for dot, tile, _ in choices),
                costs=tuple(cost for _, _, cost in choices),
            ),
            Decision("order", first("weights" if plan.weights_stay else "data", ORDERS)),
            Decision("unroll", tuple(divisors(plan.steps // plan.together, MOST_UNROLLED))),
            chunks(plan.chunks),
        )
    )


def _dots(problem: DenseProblem, target: Target) -> list[Dot]:
    return dots_of(target, problem.narrow, problem.pairs and problem.rows % 2 == 0)


def _tiles(problem: DenseProblem, dot: Dot, target: Target) -> list[tuple[Tile, float]]:
    """The tiles for one dot product and what they cost, the fastest first."""
    rows, vectors = problem.rows, ceil(problem.columns / dot.lanes)
    steps = round_up(problem.depth, dot.unit) // dot.depth

    def cost(tile: Tile) -> float:
        full, rest = divmod(rows, tile.rows)
        panels = ceil(vectors / tile.vectors)
        last = tile_cost(Tile(rest, tile.vectors), steps, dot, target) if rest else 0
        return dot.slots * panels * (full * tile_cost(tile, steps, dot, target) + last)

    # Two rows at a time leave no row alone at the end.
    fitting = (t for t in tiles(target, dot, rows, vectors) if dot.rows == 1 or rows % t.rows == 0)
    return sorted(((t, cost(t)) for t in fitting), key=lambda each: each[1])


def _plan(problem: DenseProblem, dot: Dot, tile: Tile, target: Target) -> DensePlan:
    """The plan with this dot product and tile, and otherwise default decisions."""
    steps = round_up(problem.depth, dot.unit) // dot.depth
    weight_bytes = ceil(problem.columns / dot.lanes) * dot.lanes * steps * dot.depth
    products = max(problem.batch, 1) * problem.rows * weight_bytes
    return DensePlan(
        problem=problem,
        batch=problem.batch,
        rows=problem.rows,
        steps=steps,
        columns=problem.columns,
        dot=dot.name,
        lanes=dot.lanes,
        depth=dot.depth,
        together=dot.at_once(steps),
        parts=dot.parts,
        offset=dot.offset,
        tile_rows=tile.rows,
        tile_vectors=tile.vectors,
        unroll=1,
        weights_stay=weight_bytes > target.l2_bytes // 2,
        chunks="tiles" if worth_threads(products, dot, target) else "none",
    )


def pack_weights(w: NDArray[np.int8], plan: DensePlan) -> NDArray[np.int8]:
    """w (N, K) as `plan.weight_shape`, filled up with zeros."""
    vectors, steps, lanes, depth = plan.weight_shape
    full = np.zeros((vectors * lanes, steps * depth), "int8")
    full[: w.shape[0], : w.shape[1]] = w
    return np.ascontiguousarray(full.reshape(vectors, lanes, steps, depth).transpose(0, 2, 1, 3))


def random_operands(plan: DensePlan, rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
    """x and w, random and packed: the same for all plans of a problem."""
    problem = plan.problem
    batches = (problem.batch,) if problem.batch else ()
    codes = rng.integers(0, 256, (*batches, problem.rows, problem.depth), "uint8")
    lowest = -127 if problem.narrow else -128
    w = rng.integers(lowest, 128, (*batches, problem.columns, problem.depth), "int8")
    x = np.zeros(plan.input_shape, "uint8")
    x[..., : problem.depth] = codes
    if not batches:
        return x, pack_weights(w, plan)
    return x, np.stack([pack_weights(each, replace(plan, batch=0)) for each in w])


def dense_int8(
    x: te.Tensor, w: te.Tensor, bias: te.Tensor, plan: DensePlan, layer: str
) -> te.Tensor:
    """What is computed. x: `plan.input_shape`, w: `plan.weight_shape`, bias: (N,) int32.

    The result is (M, N) int32. bias makes up for the offset of the dot product, too.
    """
    k = te.reduce_axis((0, plan.steps * plan.depth), "k")
    lanes, depth = plan.lanes, plan.depth

    def product(i, o):  # type: ignore[no-untyped-def]
        weight = w[o // lanes, k // depth, o % lanes, k % depth]
        return te.sum(factor(x[i, k], plan.offset) * weight.astype("int32"), axis=k)

    attrs = {
        "qcompile.schedule": "dense_int8",
        "qcompile.layer": layer,
        "qcompile.plan": to_json(plan),
        PROBLEM: to_json(plan.problem),
    }
    sums = te.compute((plan.rows, plan.vectors * lanes), product, name="sums", attrs=attrs)
    return te.compute((plan.rows, plan.columns), lambda i, o: sums[i, o] + bias[o], name="biased")


def schedule_dense_int8(sch: s_tir.Schedule, sums: SBlockRV, target: Target) -> None:
    """How it is computed: a tile of sums stays in registers through the whole reduction."""
    plan = DensePlan.from_json(str(sch.get(sums).annotations["qcompile.plan"]))
    sch.set_scope(sums, 0, "local")
    output = inline_epilogue(sch, sums)

    dots = DotLoops(sch, sums, plan)
    loops = sch.get_loops(dots.block)
    batch, (i, o) = loops[: bool(plan.batch)], loops[bool(plan.batch) :][:2]
    io, ii = sch.split(i, [None, plan.tile_rows])
    oo, ov, lane = sch.split(o, [None, plan.tile_vectors, plan.lanes])
    outer = (oo, io) if plan.weights_stay else (io, oo)
    steps, group = sch.split(dots.steps, [None, plan.unroll])
    sch.reorder(*batch, *outer, steps, group, *dots.order((ii, ov), lane))
    dots.finish_at(outer[1])
    sch.reverse_compute_at(output, outer[1], preserve_unit_loops=True)
    pack_at(sch, output, outer[1], plan.tile_vectors * plan.lanes)
    if plan.chunks == "outer":
        tile = outer[1]
        sch.parallel(sch.fuse(*batch, outer[0]))
    else:
        tile = sch.fuse(*batch, *outer)
    sch.annotate(tile, TILE, 1)
    if plan.chunks == "tiles":
        sch.parallel(tile)
    vectorize_epilogue(sch, output, 2, plan.lanes)
    cut = plan.rows % plan.tile_rows > 0
    dots.tensorize(steps, target, cut=cut)
    sch.unroll(group)
