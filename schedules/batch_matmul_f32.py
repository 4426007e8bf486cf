"""Products of two computed matrices, float32: y[b, m, n] = sum over k of a[b, m, k] * c[b, k, n].

Columns that are whole vectors are read as they are. Others, and matrices by columns (B, N, K), are
packed first: `pack_columns` is an elementwise operator that what made the matrix fuses into.
"""

import json
from dataclasses import dataclass
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
    padded_rows,
    plan_parts,
    space_f32,
    tiles_f32,
    worth_parallel,
)
from qcompile.schedules.tile_f32 import pack_columns as pack_constant
from qcompile.targets import Target


@dataclass(frozen=True)
class BatchMatmulF32Problem:
    """What is computed: products of a (B, M, K) by c (B, K, N), or (B, N, K) with `by_columns`."""

    batch: int
    rows: int
    columns: int
    depth: int
    by_columns: bool = False

    @property
    def products(self) -> int:
        """Multiplications."""
        return self.batch * self.rows * self.depth * self.columns


@dataclass(frozen=True)
class BatchMatmulF32Plan:
    """How B products of (M, K) by (K, N) are computed; `packed`: the second operand is."""

    problem: BatchMatmulF32Problem
    packed: bool
    loops: Loops

    @property
    def tile(self) -> Tile:
        return self.loops.tile

    @property
    def packed_shape(self) -> tuple[int, int, int, int]:
        """Of the packed operand: (B, blocks, K, lanes)."""
        problem, tile = self.problem, self.tile
        return problem.batch, tile.blocks(problem.columns), problem.depth, tile.lanes

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return self.problem.batch, self.problem.rows, self.problem.depth

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Of the second operand."""
        columns = (self.problem.batch, self.problem.depth, self.problem.columns)
        return self.packed_shape if self.packed else columns

    @staticmethod
    def from_json(text: str) -> "BatchMatmulF32Plan":
        problem, loops = plan_parts(text, BatchMatmulF32Problem)
        return BatchMatmulF32Plan(problem, bool(json.loads(text)["packed"]), loops)


def plan_batch_matmul_f32(
    batch: int, rows: int, columns: int, depth: int, target: Target, *, by_columns: bool = False
) -> BatchMatmulF32Plan:
    """The default plan of `BatchMatmulF32Problem`."""
    problem = BatchMatmulF32Problem(batch, rows, columns, depth, by_columns)
    return batch_matmul_f32_plan(problem, target)


def batch_matmul_f32_plan(
    problem: BatchMatmulF32Problem, target: Target, decisions: Decisions = DEFAULT
) -> BatchMatmulF32Plan:
    """The plan with these decisions, the others by default. Raises UnknownDecision."""
    loops = loops_f32(batch_matmul_f32_space(problem, target), decisions)
    return BatchMatmulF32Plan(problem, _packed(problem, target), loops)


def batch_matmul_f32_space(problem: BatchMatmulF32Problem, target: Target) -> Space:
    """What may be decided."""
    rows, columns, whole = problem.rows, problem.columns, not _packed(problem, target)
    tiles = [tiles_f32(rows, columns, lanes, target, whole=whole) for lanes in lane_choices(target)]
    macs = problem.batch * tiles[0][0].computed(rows, columns) * problem.depth
    sizes = [(rows, columns)] * len(tiles)
    return space_f32(tiles, sizes, [problem.depth], worth_parallel(macs, target))


def _packed(problem: BatchMatmulF32Problem, target: Target) -> bool:
    return problem.by_columns or problem.columns % lanes_of(target) != 0


def pack_columns(c: te.Tensor, *, plan: BatchMatmulF32Plan, by_columns: bool = False) -> te.Tensor:
    """c (B, K, N), or (B, N, K) with `by_columns`, as `plan.packed_shape` with zero columns."""
    lanes, columns = plan.tile.lanes, plan.problem.columns

    def entry(b: tirx.Var, block: tirx.Var, k: tirx.Var, lane: tirx.Var) -> tirx.Expr:
        n = block * lanes + lane
        value = c[b, n, k] if by_columns else c[b, k, n]
        if plan.packed_shape[1] * lanes == columns:
            return value
        return tirx.if_then_else(n < columns, value, tirx.const(0.0, "float32"))

    return te.compute(plan.packed_shape, entry, name="pack_columns_f32")


def random_operands(plan: BatchMatmulF32Plan, rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
    """a and c, random, the latter packed where it is: the same for all plans of a problem."""
    problem, tile = plan.problem, plan.tile
    a = rng.normal(size=(problem.batch, problem.rows, problem.depth)).astype("float32")
    c = rng.normal(size=(problem.batch, problem.depth, problem.columns)).astype("float32")
    return a, pack_constant(c.swapaxes(1, 2), tile) if plan.packed else c


def batch_matmul_f32(
    a: te.Tensor, c: te.Tensor, *, plan: BatchMatmulF32Plan, layer: str
) -> te.Tensor:
    """a (B, M, K), c (B, K, N) or packed as the plan says -> (B, M, N), all float32."""
    lanes, problem = plan.tile.lanes, plan.problem
    k = te.reduce_axis((0, problem.depth), name="k")

    def sums(b: tirx.Var, m: tirx.Var, n: tirx.Var) -> tirx.Expr:
        right = c[b, n // lanes, k, n % lanes] if plan.packed else c[b, k, n]
        return te.sum(a[b, clamped(m, problem.rows, plan.tile), k] * right, axis=k)

    columns = plan.packed_shape[1] * lanes
    attributes = {
        "qcompile.schedule": "batch_matmul_f32",
        "qcompile.layer": layer,
        "qcompile.plan": to_json(plan),
        PROBLEM: to_json(plan.problem),
    }
    shape = (problem.batch, padded_rows(problem.rows, plan.tile), columns)
    total = te.compute(shape, sums, name="batch_matmul_f32", attrs=attributes)
    return te.compute(
        (problem.batch, problem.rows, problem.columns),
        lambda b, m, n: total[b, m, n],
        name="batch_matmul_f32_rows",
    )


def schedule_batch_matmul_f32(sch: s_tir.Schedule, block: SBlockRV, target: Target) -> None:
    """Schedule the block `batch_matmul_f32` and the epilogue fused behind it."""
    plan = BatchMatmulF32Plan.from_json(str(sch.get(block).annotations["qcompile.plan"]))
    keep_tile_in_registers(sch, block, 1, 3, plan.loops)
