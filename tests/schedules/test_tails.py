"""cut_tails: conditions of partial tiles and vectors, decided before the inner loops."""

import numpy as np
import pytest
import tvm
import tvm_ffi
from tvm import s_tir, te, tirx

from qcompile.schedules.tails import TILE, cut_tails


def sums_of_rows(rows: int, columns: int, tile: int, lanes: int) -> s_tir.Schedule:
    """y[i, j] = 1 + sum of x[i, k, j] over k, in tiles of rows and vectors of columns."""
    x = te.placeholder((rows, 5, columns), "int32", name="x")
    k = te.reduce_axis((0, 5), "k")
    total = te.compute((rows, columns), lambda i, j: te.sum(x[i, k, j], axis=k), name="total")
    y = te.compute((rows, columns), lambda i, j: total[i, j] + 1, name="y")
    sch = s_tir.Schedule(te.create_prim_func([x, y]))
    total, y = sch.get_sblock("total"), sch.get_sblock("y")
    i, j, k = sch.get_loops(total)
    outer, inner = sch.split(i, [None, tile])
    sch.reorder(outer, k, inner, j)
    sch.reverse_compute_at(y, outer, preserve_unit_loops=True)
    row, column = sch.get_loops(y)[-2:]
    _, lane = sch.split(column, [None, lanes])
    sch.vectorize(lane)
    sch.decompose_reduction(total, k)
    for loop in (row, inner):
        sch.unroll(loop)
    sch.annotate(outer, TILE, 1)
    return sch


def run(func, x):
    library = tvm.compile(tvm.IRModule({"main": func.with_attr("global_symbol", "main")}), "llvm")
    y = tvm.runtime.tensor(np.full((x.shape[0], x.shape[2]), -1, "int32"))
    library(tvm.runtime.tensor(x), y)
    return y.numpy()


def found(func, kind):
    nodes = []
    tvm_ffi.structural_walk(func.body, (kind, nodes.append))
    return nodes


@pytest.mark.parametrize("rows", [1, 7, 12, 13])
@pytest.mark.parametrize("columns", [1, 8, 15, 16, 21])
@pytest.mark.parametrize("tile", [3, 4])
def test_keeps_the_numbers(rows, columns, tile):
    x = np.random.default_rng(0).integers(-9, 9, (rows, 5, columns), dtype="int32")
    func = cut_tails(sums_of_rows(rows, columns, min(tile, rows), 8).mod["main"])
    np.testing.assert_array_equal(run(func, x), x.sum(axis=1) + 1)


def test_cuts_a_vector_into_powers_of_two():
    func = cut_tails(sums_of_rows(4, 29, 2, 16).mod["main"])
    vectors = [int(f.extent) for f in found(func, tirx.For) if f.kind == tirx.ForKind.VECTORIZED]
    assert vectors == [16, 8, 4]  # 29 = 16 + 8 + 4 + 1; a single lane is no vector


def test_leaves_whole_tiles_alone():
    func = sums_of_rows(8, 16, 4, 8).mod["main"]
    cut = cut_tails(func)
    assert not found(cut, tirx.IfThenElse)
    assert len(found(cut, s_tir.SBlock)) == len(found(func, s_tir.SBlock))


def test_full_tiles_have_no_conditions():
    func = cut_tails(sums_of_rows(10, 16, 4, 8).mod["main"])
    (choice,) = found(func, tirx.IfThenElse)
    inside = []
    tvm_ffi.structural_walk(choice.then_case, (s_tir.SBlockRealize, inside.append))
    assert inside and all(
        tvm_ffi.structural_equal(b.predicate, tirx.const(True, "bool")) for b in inside
    )
