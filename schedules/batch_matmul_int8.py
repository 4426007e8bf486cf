"""Products of matrices that are both known only at run time.

    y[n, i, o] = sum over k of a[n, i, k] * s(b[n, k, o])

a: (N, M, K) uint8, K a multiple of `depth` (filled up with anything). b: (N, K, O) uint8 or int8;
s(b) is b for int8 and b - 128 for uint8. `pack_columns` brings b into the order of a constant
matrix, filled up with zeros; `row_sums` and `column_sums` are what zero points need.
"""

from tvm import s_tir, te, tirx
from tvm.s_tir.schedule import SBlockRV

from qcompile.schedules.access import loads
from qcompile.schedules.dense_int8 import DensePlan
from qcompile.schedules.dot import factor
from qcompile.schedules.interleave import register_interleave
from qcompile.schedules.space import PROBLEM, to_json
from qcompile.targets import Target

SMALLEST_PARALLEL_BYTES = 1 << 18  # packed by one core in about 20 us


def batch_matmul_int8(a: te.Tensor, b: te.Tensor, plan: DensePlan, layer: str) -> te.Tensor:
    """What is computed. a: (N, M, K) uint8, b: packed columns; the result is (N, M, O) int32.

    a counts less the offset of the dot product.
    """
    k = te.reduce_axis((0, plan.steps * plan.depth), "k")
    lanes, depth = plan.lanes, plan.depth

    def product(n: tirx.Var, i: tirx.Var, o: tirx.Var) -> tirx.Expr:
        column = b[n, o // lanes, k // depth, o % lanes, k % depth]
        return te.sum(factor(a[n, i, k], plan.offset) * column.astype("int32"), axis=k)

    attrs = {
        "qcompile.schedule": "dense_int8",
        "qcompile.layer": layer,
        "qcompile.plan": to_json(plan),
        PROBLEM: to_json(plan.problem),
    }
    shape = plan.batch, plan.rows, plan.vectors * lanes
    sums = te.compute(shape, product, name="sums", attrs=attrs)
    shape = plan.batch, plan.rows, plan.columns
    return te.compute(shape, lambda n, i, o: sums[n, i, o], name="product")


def pack_columns(b: te.Tensor, plan: DensePlan, layer: str = "") -> te.Tensor:
    """b (N, K, O) uint8 or int8 as `plan.weight_shape` int8."""
    _, rows, columns = (int(extent) for extent in b.shape)
    batch, vectors, steps, lanes, depth = plan.weight_shape
    shift = tirx.const(128, "uint8")

    def signed(n: tirx.Var, k: tirx.Var, o: tirx.Var) -> tirx.Expr:
        value = b[n, k, o] ^ shift if str(b.dtype) == "uint8" else b[n, k, o]
        inside = tirx.all(k < rows, o < columns)
        return tirx.if_then_else(inside, value.astype("int8"), tirx.const(0, "int8"))

    filled = te.compute((batch, steps * depth, vectors * lanes), signed, name="filled")
    attrs = {"qcompile.schedule": "pack_columns", "qcompile.layer": layer}
    return te.compute(
        (batch, vectors, steps, lanes, depth),
        lambda n, v, s, lane, d: filled[n, s * depth + d, v * lanes + lane],
        name="packed",
        attrs=attrs,
    )


def row_sums(a: te.Tensor, depth: int) -> te.Tensor:
    """a (N, M, K) uint8 -> (N, M) int32, of the first `depth` columns."""
    k = te.reduce_axis((0, depth), "k")
    return te.compute(
        a.shape[:2], lambda n, i: te.sum(a[n, i, k].astype("int32"), axis=k), name="row_sums"
    )


def column_sums(b: te.Tensor) -> te.Tensor:
    """b (N, K, O) uint8 or int8 -> (N, O) int32, of s(b)."""
    batch, rows, columns = b.shape
    shift = 128 if str(b.dtype) == "uint8" else 0
    k = te.reduce_axis((0, rows), "k")
    return te.compute(
        (batch, columns),
        lambda n, o: te.sum(b[n, k, o].astype("int32") - shift, axis=k),
        name="column_sums",
    )


def schedule_pack_columns(sch: s_tir.Schedule, packed: SBlockRV, target: Target) -> None:
    """How b is packed: the rows of one step at a time, a vector of columns each.

    Where the rows of b are its fast axis (a transposed product), the bytes of one step at a time.
    """
    root = sch.get_sblock("root")
    filled = sch.get_producers(packed)[0]
    for block in sch.get_child_blocks(root):
        if sch.get(block) not in (sch.get(packed), sch.get(filled)):
            sch.compute_inline(block)
    n, v, s, lane, d = sch.get_loops(packed)
    batch, vectors, steps, lanes, depth = (int(sch.get(loop).extent) for loop in (n, v, s, lane, d))
    transposed = any(source.strides[1] == 1 for source in loads(sch.get(filled)))
    if transposed:
        sch.compute_inline(filled)
        sch.vectorize(d)
        sch.unroll(lane)
    else:
        sch.set_scope(filled, 0, "local")
        sch.compute_at(filled, s, preserve_unit_loops=True)
        row, column = sch.get_loops(filled)[-2:]
        sch.vectorize(column)
        sch.unroll(row)
        sch.tensorize(lane, register_interleave(lanes, depth))
    if batch * vectors * steps * lanes * depth >= SMALLEST_PARALLEL_BYTES:
        sch.parallel(sch.fuse(n, v))
