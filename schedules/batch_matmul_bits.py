"""Products of matrices of bit planes that are both known only at run time.

    y[n, i, o] = start + sum over planes a, b of coefficient[a][b] *
        sum over k of popcount(x[n, i, a, k] op w[n, o, b, k])

x: (N, M, planes, words) uint32, packed along the reduction (`pack_bits`). The other operand is
brought into the order of a constant matrix: from words by `word_columns`, from codes of which the
columns are packed (what attention weighs) by `pack_code_columns`. `bit_sums` is what offsets need.
"""

from collections.abc import Sequence
from functools import reduce
from operator import add

from tvm import te, tirx

from qcompile.schedules.bit_product import combined, popcount_sum
from qcompile.schedules.dense_bits_plan import DenseBitsPlan
from qcompile.schedules.popcount import WORD_BITS
from qcompile.schedules.space import PROBLEM, to_json


def batch_matmul_bits(x: te.Tensor, w: te.Tensor, plan: DenseBitsPlan, layer: str) -> te.Tensor:
    """What is computed. x: `plan.input_shape`, w: `plan.weight_shape`.

    The result is (N, M, O) int32.
    """
    planes, lanes = plan.planes, plan.popcount.lanes

    def product(n: tirx.Var, row: tirx.Var, v: tirx.Var, lane: tirx.Var, k: tirx.Expr) -> tirx.Expr:
        i, a, b = planes.split(row)
        return planes.product(x[n, i, a, k], w[n, v, k, b, lane])

    attrs = {
        "qcompile.schedule": "dense_bits",
        "qcompile.layer": layer,
        "qcompile.plan": plan.to_json(),
        PROBLEM: to_json(plan.problem),
    }
    shape = plan.batch, plan.rows * planes.pairs, plan.vectors, lanes
    sums = popcount_sum(plan.popcount, shape, [("k", plan.words)], product, attrs)
    start = tirx.const(plan.problem.start, planes.sum_type)

    def entry(n: tirx.Var, i: tirx.Var, o: tirx.Var) -> tirx.Expr:
        return combined(planes, start, lambda pair: sums[n, pair(i), o // lanes, o % lanes])

    return te.compute((plan.batch, plan.rows, plan.columns), entry, name="product")


def word_columns(w: te.Tensor, plan: DenseBitsPlan) -> te.Tensor:
    """w (N, O, planes, words), packed along the reduction, as `plan.weight_shape`."""
    lanes = plan.popcount.lanes
    whole = plan.vectors * lanes == plan.columns

    def entry(n: tirx.Var, v: tirx.Var, k: tirx.Var, b: tirx.Var, lane: tirx.Var) -> tirx.Expr:
        o = v * lanes + lane
        if whole:
            return w[n, o, b, k]
        return tirx.if_then_else(o < plan.columns, w[n, o, b, k], tirx.const(0, "uint32"))

    return te.compute(plan.weight_shape, entry, name="word_columns")


def pack_code_columns(w: te.Tensor, plan: DenseBitsPlan) -> te.Tensor:
    """w (N, K, O) uint8 codes, packed along K, as `plan.weight_shape`."""
    lanes = plan.popcount.lanes
    depth = int(w.shape[1])
    zero = tirx.const(0, "uint32")

    def filled(n: tirx.Var, row: tirx.Var, o: tirx.Var) -> tirx.Expr:
        inside = tirx.all(row < depth, o < plan.columns)
        return tirx.if_then_else(inside, w[n, row, o].astype("uint32"), zero)

    shape = plan.batch, plan.words * WORD_BITS, plan.vectors * lanes
    codes = te.compute(shape, filled, name="filled")

    def entry(n: tirx.Var, v: tirx.Var, k: tirx.Var, b: tirx.Var, lane: tirx.Var) -> tirx.Expr:
        total = zero
        for t in range(WORD_BITS):
            code = codes[n, k * WORD_BITS + t, v * lanes + lane]
            bit = (code >> b.astype("uint32")) & tirx.const(1, "uint32")
            total = total | (bit << tirx.const(t, "uint32"))
        return total

    return te.compute(plan.weight_shape, entry, name="packed_columns")


def bit_sums(x: te.Tensor, coefficients: Sequence[int]) -> te.Tensor:
    """The sums over planes of coefficient * set bits of x (..., planes, words): (...) int32."""
    *outer, planes, words = (int(extent) for extent in x.shape)
    assert planes == len(coefficients)
    k = te.reduce_axis((0, words), "k")

    def entry(*index: tirx.Var) -> tirx.Expr:
        bits = [
            tirx.popcount(x(*index, a, k)).astype("int32") * c for a, c in enumerate(coefficients)
        ]
        return te.sum(reduce(add, bits), axis=k)

    return te.compute(outer, entry, name="bit_sums")


def column_bit_sums(w: te.Tensor, coefficients: Sequence[int], plan: DenseBitsPlan) -> te.Tensor:
    """The same of the columns of w: `plan.weight_shape`: (N, O) int32."""
    lanes = plan.popcount.lanes
    k = te.reduce_axis((0, plan.words), "k")

    def bits(n: tirx.Var, v: tirx.Var, k: tirx.Var, lane: tirx.Var) -> tirx.Expr:
        counts = [
            tirx.popcount(w[n, v, k, b, lane]).astype("int32") * c
            for b, c in enumerate(coefficients)
        ]
        return reduce(add, counts)

    sums = te.compute(
        (plan.batch, plan.vectors, lanes),
        lambda n, v, lane: te.sum(bits(n, v, k, lane), axis=k),
        name="column_bits",
    )
    return te.compute(
        (plan.batch, plan.columns), lambda n, o: sums[n, o // lanes, o % lanes], name="columns"
    )
