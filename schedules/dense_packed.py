"""dense_int8 with constant weights of 2 to 4 bits, unpacked in registers.

    y[i, o] = bias[o] + sum over k of x[i, k] * w[o, k]

A layer of few rows waits for its weights: packed, they are half or a quarter of the bytes. A byte
holds a weight for each of `per_byte` = 8 / bits neighbouring steps, the first one in its highest
bits. Shifted up and masked, a weight is an int8 of 2**(8 - bits) times its value; the sums have
that factor and are shifted down once, exactly. bits: 4 (also for weights of 3) or 2.
"""

import json
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from tvm import s_tir, te, tirx
from tvm.s_tir.schedule import SBlockRV

from qcompile.schedules.dense_int8 import DensePlan, DenseProblem, dense_plan, dense_space
from qcompile.schedules.dot import factor
from qcompile.schedules.dot_loops import DotLoops
from qcompile.schedules.epilogue import inline_epilogue, pack_at, vectorize_epilogue
from qcompile.schedules.intrinsics import dot_of
from qcompile.schedules.space import (
    DEFAULT,
    MOST_UNROLLED,
    PROBLEM,
    Decision,
    Decisions,
    Space,
    divisors,
    to_json,
)
from qcompile.schedules.tails import TILE
from qcompile.schedules.tile import round_up
from qcompile.targets import Target

MAX_DEPTH = 2**31 // (255 * 2**7)  # the K up to which sums of 2**(8 - bits) x * w fit an int32


@dataclass(frozen=True)
class DensePackedProblem:
    """What is computed: x (rows, depth) times w (columns, depth) of `bits` (2 or 4)."""

    rows: int
    depth: int
    columns: int
    bits: int

    def in_whole_bytes(self, target: Target) -> DenseProblem:
        """The same of a depth whose weights are whole vectors of bytes."""
        depth = round_up(self.depth, dot_of(target).depth * 8 // self.bits)
        return DenseProblem(self.rows, depth, self.columns, pairs=False)

    @property
    def products(self) -> int:
        """Multiplications."""
        return self.rows * self.depth * self.columns


@dataclass(frozen=True)
class DensePackedPlan:
    """A plan whose steps are a multiple of those that share a byte."""

    problem: DensePackedProblem
    dense: DensePlan
    bits: int
    unroll: int  # vectors of bytes that follow each other without a loop

    @property
    def per_byte(self) -> int:
        return 8 // self.bits

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(vectors, steps / per_byte, lanes, depth)."""
        vectors, steps, lanes, depth = self.dense.weight_shape
        return vectors, steps // self.per_byte, lanes, depth

    def to_json(self) -> str:
        return to_json(self)

    @staticmethod
    def from_json(text: str) -> "DensePackedPlan":
        fields = json.loads(text)
        problem = DensePackedProblem(**fields.pop("problem"))
        dense = DensePlan.from_json(json.dumps(fields.pop("dense")))
        return DensePackedPlan(problem, dense, **fields)


def plan_dense_packed(
    rows: int, depth: int, columns: int, bits: int, target: Target
) -> DensePackedPlan:
    """The default plan of `DensePackedProblem`."""
    return dense_packed_plan(DensePackedProblem(rows, depth, columns, bits), target)


def dense_packed_plan(
    problem: DensePackedProblem, target: Target, decisions: Decisions = DEFAULT
) -> DensePackedPlan:
    """The plan with these decisions, the others by default. Raises UnknownDecision."""
    assert problem.bits in (2, 4) and problem.depth <= MAX_DEPTH
    chosen = dense_packed_space(problem, target).chosen(decisions)
    unroll = cast(int, chosen.pop("unroll"))
    dense = dense_plan(problem.in_whole_bytes(target), target, chosen)
    return DensePackedPlan(problem, dense, problem.bits, unroll)


def dense_packed_space(problem: DensePackedProblem, target: Target) -> Space:
    """What may be decided: the same as for int8, with the steps in whole vectors of bytes."""
    whole = problem.in_whole_bytes(target)
    others = [d for d in dense_space(whole, target).decisions if d.name != "unroll"]
    loops = dense_plan(whole, target).steps * problem.bits // 8
    return Space((*others, Decision("unroll", tuple(divisors(loops, MOST_UNROLLED)))))


def pack_weights(w: NDArray[np.int8], plan: DensePackedPlan) -> NDArray[np.int8]:
    """w (columns, depth) as `plan.weight_shape`, filled up with zeros."""
    vectors, steps, lanes, depth = plan.weight_shape
    full = np.zeros((vectors * lanes, steps * plan.per_byte * depth), "int8")
    full[: w.shape[0], : w.shape[1]] = w
    parts = full.reshape(vectors, lanes, steps, plan.per_byte, depth).view("uint8")
    packed = np.zeros((vectors, lanes, steps, depth), "uint8")
    for part in range(plan.per_byte):
        field = parts[:, :, :, part] & (2**plan.bits - 1)
        packed |= field << (8 - plan.bits * (part + 1))
    return np.ascontiguousarray(packed.transpose(0, 2, 1, 3)).view("int8")


def random_operands(plan: DensePackedPlan, rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
    """x and w, random and packed: the same for all plans of a problem."""
    problem, largest = plan.problem, 2 ** (plan.bits - 1)
    x = np.zeros(plan.dense.input_shape, "uint8")
    x[:, : problem.depth] = rng.integers(0, 256, (problem.rows, problem.depth), "uint8")
    w = rng.integers(-largest, largest, (problem.columns, problem.depth), "int8")
    return x, pack_weights(w, plan)


def dense_packed(
    x: te.Tensor, w: te.Tensor, bias: te.Tensor, plan: DensePackedPlan, layer: str
) -> te.Tensor:
    """What is computed. x: `plan.dense.input_shape` uint8, w: `plan.weight_shape` int8.

    bias: (columns,) int32; the result is (rows, columns) int32.
    """
    dense, per_byte = plan.dense, plan.per_byte
    lanes, depth = dense.lanes, dense.depth
    step, k = te.reduce_axis((0, dense.steps), "step"), te.reduce_axis((0, depth), "k")
    mask = tirx.const(-(2 ** (8 - plan.bits)), "int8")

    def field(v: tirx.Var, s: tirx.Var, part: tirx.Var, lane: tirx.Var, d: tirx.Var) -> tirx.Expr:
        shift = (part * plan.bits).astype("int8")
        return (w[v, s, lane, d] << shift) & mask

    shape = dense.vectors, dense.steps // per_byte, per_byte, lanes, depth
    fields = te.compute(shape, field, name="fields")

    def product(i: tirx.Var, o: tirx.Var) -> tirx.Expr:
        weight = fields[o // lanes, step // per_byte, step % per_byte, o % lanes, k]
        data = factor(x[i, step * depth + k], dense.offset)
        return te.sum(data * weight.astype("int32"), axis=[step, k])

    attrs = {
        "qcompile.schedule": "dense_packed",
        "qcompile.layer": layer,
        "qcompile.plan": plan.to_json(),
        PROBLEM: to_json(plan.problem),
    }
    sums = te.compute((dense.rows, dense.vectors * lanes), product, name="sums", attrs=attrs)
    return te.compute(
        (dense.rows, dense.columns),
        lambda i, o: (sums[i, o] >> (8 - plan.bits)) + bias[o],
        name="biased",
    )


def schedule_dense_packed(sch: s_tir.Schedule, sums: SBlockRV, target: Target) -> None:
    """How it is computed: as dense_int8, with the weights of some steps unpacked before them."""
    packed = DensePackedPlan.from_json(str(sch.get(sums).annotations["qcompile.plan"]))
    plan = packed.dense
    (fields,) = [b for b in sch.get_producers(sums) if sch.get(b).name_hint == "fields"]
    output = inline_epilogue(sch, sums, fields)
    sch.set_scope(sums, 0, "local")

    dots = DotLoops(sch, sums, replace(plan, together=1), steps_apart=True)
    i, o, *_ = sch.get_loops(dots.block)
    io, ii = sch.split(i, [None, plan.tile_rows])
    oo, ov, lane = sch.split(o, [None, plan.tile_vectors, plan.lanes])
    ko, group, part = sch.split(dots.steps, [None, packed.unroll, packed.per_byte])
    outer = (oo, io) if plan.weights_stay else (io, oo)
    sch.reorder(*outer, ko, group, part, *dots.order((ii, ov), lane))
    sch.compute_at(fields, part, preserve_unit_loops=True)
    dots.finish_at(outer[1])
    sch.reverse_compute_at(output, outer[1], preserve_unit_loops=True)
    pack_at(sch, output, outer[1], plan.tile_vectors * plan.lanes)
    if plan.chunks == "outer":
        tile = outer[1]
        sch.parallel(outer[0])
    else:
        tile = sch.fuse(*outer)
    sch.annotate(tile, TILE, 1)
    if plan.chunks == "tiles":
        sch.parallel(tile)
    vectorize_epilogue(sch, output, 2, plan.lanes)
    vector, _, _, own_lane, byte = sch.get_loops(fields)[-5:]
    sch.unroll(vector)
    sch.vectorize(sch.fuse(own_lane, byte))
    cut = plan.rows % plan.tile_rows > 0
    dots.tensorize(ko, target, cut=cut)
    for loop in (group, part):
        sch.unroll(loop)
