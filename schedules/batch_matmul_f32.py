"""Products of two computed matrices, float32: y[b, m, n] = sum over k of a[b, m, k] * c[b, k, n].

Columns that are whole vectors are read as they are. Others, and matrices by columns (B, N, K), are
packed first: `pack_columns` is an elementwise operator that what made the matrix fuses into.
"""

from dataclasses import dataclass
from math import ceil

from tvm import s_tir, te, tirx
from tvm.s_tir.schedule import SBlockRV

from qcompile.schedules.tile_f32 import (
    Tile,
    choose_tile,
    clamped,
    keep_tile_in_registers,
    lanes_of,
    padded_rows,
)
from qcompile.targets import Target


@dataclass(frozen=True)
class BatchMatmulF32Plan:
    """How B products of (M, K) by (K, N) are computed; `packed`: the second operand is."""

    batch: int
    rows: int
    columns: int
    depth: int
    packed: bool
    tile: Tile

    @property
    def packed_shape(self) -> tuple[int, int, int, int]:
        """Of the packed operand: (B, blocks, K, lanes)."""
        blocks = ceil(self.columns / self.tile.columns) * self.tile.vectors
        return self.batch, blocks, self.depth, self.tile.lanes


def plan_batch_matmul_f32(
    batch: int, rows: int, columns: int, depth: int, target: Target, *, by_columns: bool = False
) -> BatchMatmulF32Plan:
    """The plan for a (B, M, K) and c (B, K, N), or (B, N, K) with `by_columns`."""
    packed = by_columns or columns % lanes_of(target) != 0
    tile = choose_tile(rows, columns, target, whole=not packed)
    return BatchMatmulF32Plan(batch, rows, columns, depth, packed, tile)


def pack_columns(c: te.Tensor, *, plan: BatchMatmulF32Plan, by_columns: bool = False) -> te.Tensor:
    """c (B, K, N), or (B, N, K) with `by_columns`, as `plan.packed_shape` with zero columns."""
    lanes = plan.tile.lanes

    def entry(b: tirx.Var, block: tirx.Var, k: tirx.Var, lane: tirx.Var) -> tirx.Expr:
        n = block * lanes + lane
        value = c[b, n, k] if by_columns else c[b, k, n]
        if plan.packed_shape[1] * lanes == plan.columns:
            return value
        return tirx.if_then_else(n < plan.columns, value, tirx.const(0.0, "float32"))

    return te.compute(plan.packed_shape, entry, name="pack_columns_f32")


def batch_matmul_f32(
    a: te.Tensor, c: te.Tensor, *, plan: BatchMatmulF32Plan, layer: str
) -> te.Tensor:
    """a (B, M, K), c (B, K, N) or packed as the plan says -> (B, M, N), all float32."""
    lanes = plan.tile.lanes
    k = te.reduce_axis((0, plan.depth), name="k")

    def sums(b: tirx.Var, m: tirx.Var, n: tirx.Var) -> tirx.Expr:
        right = c[b, n // lanes, k, n % lanes] if plan.packed else c[b, k, n]
        return te.sum(a[b, clamped(m, plan.rows, plan.tile), k] * right, axis=k)

    columns = plan.packed_shape[1] * lanes
    attributes = {
        "qcompile.schedule": "batch_matmul_f32",
        "qcompile.layer": layer,
        "qcompile.tile": [plan.tile.rows, plan.tile.vectors, lanes],
    }
    shape = (plan.batch, padded_rows(plan.rows, plan.tile), columns)
    total = te.compute(shape, sums, name="batch_matmul_f32", attrs=attributes)
    return te.compute(
        (plan.batch, plan.rows, plan.columns),
        lambda b, m, n: total[b, m, n],
        name="batch_matmul_f32_rows",
    )


def schedule_batch_matmul_f32(sch: s_tir.Schedule, block: SBlockRV, target: Target) -> None:
    """Schedule the block `batch_matmul_f32` and the epilogue fused behind it."""
    keep_tile_in_registers(sch, block, 1, 3, target)
