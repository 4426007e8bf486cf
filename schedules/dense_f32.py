"""Matrix product with packed weights, float32: y = x @ w.T + bias.

x: (M, K), w: (N, K) packed to (blocks, K, lanes), bias: (N,), y: (M, N). M, N, K are any.
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
    pack_columns,
    padded_rows,
)
from qcompile.targets import Target


@dataclass(frozen=True)
class DenseF32Plan:
    """How one product is computed; `pack_weights` and `dense_f32` must be given the same."""

    rows: int
    columns: int
    depth: int
    tile: Tile


def plan_dense_f32(rows: int, columns: int, depth: int, target: Target) -> DenseF32Plan:
    """The plan for x (rows, depth) and weights (columns, depth)."""
    return DenseF32Plan(rows, columns, depth, choose_tile(rows, columns, target))


def pack_weights(weights: NDArray[np.float32], plan: DenseF32Plan) -> NDArray[np.float32]:
    """weights (N, K) as (blocks, K, lanes), zero padded to whole tiles."""
    return pack_columns(weights, plan.tile)


def dense_f32(
    x: te.Tensor, w: te.Tensor, bias: te.Tensor, *, plan: DenseF32Plan, layer: str
) -> te.Tensor:
    """x (M, K), w packed, bias (N,) -> (M, N), all float32."""
    lanes = plan.tile.lanes
    k = te.reduce_axis((0, plan.depth), name="k")

    def sums(m: tirx.Var, n: tirx.Var) -> tirx.Expr:
        row = clamped(m, plan.rows, plan.tile)
        return te.sum(x[row, k] * w[n // lanes, k, n % lanes], axis=k)

    shape = (padded_rows(plan.rows, plan.tile), int(w.shape[0]) * lanes)
    attributes = {
        "qcompile.schedule": "dense_f32",
        "qcompile.layer": layer,
        "qcompile.tile": [plan.tile.rows, plan.tile.vectors, lanes],
    }
    total = te.compute(shape, sums, name="dense_f32", attrs=attributes)
    return te.compute(
        (plan.rows, plan.columns), lambda m, n: total[m, n] + bias[n], name="dense_f32_bias"
    )


def schedule_dense_f32(sch: s_tir.Schedule, block: SBlockRV, target: Target) -> None:
    """Schedule the block `dense_f32` and the epilogue fused behind it."""
    keep_tile_in_registers(sch, block, 0, 2, target)
