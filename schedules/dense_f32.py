"""Matrix product with packed weights, float32: y = x @ w.T + bias.

x: (M, K), w: (N, K) packed to (blocks, K, lanes), bias: (N,), y: (M, N). M, N, K are any.
"""

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
class DenseF32Problem:
    """What is computed: x (rows, depth) times weights (columns, depth)."""

    rows: int
    columns: int
    depth: int

    @property
    def products(self) -> int:
        """Multiplications."""
        return self.rows * self.depth * self.columns


@dataclass(frozen=True)
class DenseF32Plan:
    """How one product is computed; `pack_weights` and `dense_f32` must be given the same."""

    problem: DenseF32Problem
    loops: Loops

    @property
    def tile(self) -> Tile:
        return self.loops.tile

    @property
    def input_shape(self) -> tuple[int, int]:
        return self.problem.rows, self.problem.depth

    @property
    def weight_shape(self) -> tuple[int, int, int]:
        """(blocks, K, lanes)."""
        return self.tile.blocks(self.problem.columns), self.problem.depth, self.tile.lanes

    @staticmethod
    def from_json(text: str) -> "DenseF32Plan":
        return DenseF32Plan(*plan_parts(text, DenseF32Problem))


def plan_dense_f32(rows: int, columns: int, depth: int, target: Target) -> DenseF32Plan:
    """The default plan of `DenseF32Problem`."""
    return dense_f32_plan(DenseF32Problem(rows, columns, depth), target)


def dense_f32_plan(
    problem: DenseF32Problem, target: Target, decisions: Decisions = DEFAULT
) -> DenseF32Plan:
    """The plan with these decisions, the others by default. Raises UnknownDecision."""
    return DenseF32Plan(problem, loops_f32(dense_f32_space(problem, target), decisions))


def dense_f32_space(problem: DenseF32Problem, target: Target) -> Space:
    """What may be decided."""
    rows, columns = problem.rows, problem.columns
    tiles = [tiles_f32(rows, columns, lanes, target) for lanes in lane_choices(target)]
    macs = tiles[0][0].computed(rows, columns) * problem.depth
    sizes = [(rows, columns)] * len(tiles)
    return space_f32(tiles, sizes, [problem.depth], worth_parallel(macs, target))


def pack_weights(weights: NDArray[np.float32], plan: DenseF32Plan) -> NDArray[np.float32]:
    """weights (N, K) as (blocks, K, lanes), zero padded to whole tiles."""
    return pack_columns(weights, plan.tile)


def random_operands(plan: DenseF32Plan, rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
    """x and w, random and packed: the same for all plans of a problem."""
    problem = plan.problem
    x = rng.normal(size=(problem.rows, problem.depth)).astype("float32")
    w = rng.normal(size=(problem.columns, problem.depth)).astype("float32")
    return x, pack_weights(w, plan)


def dense_f32(
    x: te.Tensor, w: te.Tensor, bias: te.Tensor, *, plan: DenseF32Plan, layer: str
) -> te.Tensor:
    """x (M, K), w packed, bias (N,) -> (M, N), all float32."""
    lanes = plan.tile.lanes
    rows, columns = plan.problem.rows, plan.problem.columns
    k = te.reduce_axis((0, plan.problem.depth), name="k")

    def sums(m: tirx.Var, n: tirx.Var) -> tirx.Expr:
        row = clamped(m, rows, plan.tile)
        return te.sum(x[row, k] * w[n // lanes, k, n % lanes], axis=k)

    shape = (padded_rows(rows, plan.tile), int(w.shape[0]) * lanes)
    attributes = {
        "qcompile.schedule": "dense_f32",
        "qcompile.layer": layer,
        "qcompile.plan": to_json(plan),
        PROBLEM: to_json(plan.problem),
    }
    total = te.compute(shape, sums, name="dense_f32", attrs=attributes)
    return te.compute((rows, columns), lambda m, n: total[m, n] + bias[n], name="dense_f32_bias")


def schedule_dense_f32(sch: s_tir.Schedule, block: SBlockRV, target: Target) -> None:
    """Schedule the block `dense_f32` and the epilogue fused behind it."""
    plan = DenseF32Plan.from_json(str(sch.get(block).annotations["qcompile.plan"]))
    keep_tile_in_registers(sch, block, 0, 2, plan.loops)
