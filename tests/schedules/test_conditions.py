"""cut_conditions: the loops it makes of a loop along which conditions change."""

import numpy as np
import tvm
import tvm_ffi
from tvm import s_tir, te, tirx

from qcompile.schedules.conditions import CUT, cut_conditions


def padded(size: int, before: int, after: int, cut: bool) -> tirx.PrimFunc:
    """x (3, size) with zeros on both sides of each row."""
    x = te.placeholder((3, size), "float32", name="x")

    def entry(i, j):
        inside = tirx.all(j >= before, j < before + size)
        return tirx.if_then_else(inside, x[i, j - before], 0.0)

    y = te.compute((3, before + size + after), entry, name="y")
    func = te.create_prim_func([x, y]).with_attr("global_symbol", "main")
    sch = s_tir.Schedule(func)
    if cut:
        sch.annotate(sch.get_loops(sch.get_sblock("y"))[-1], CUT, 1)
    return cut_conditions(sch.mod["main"])


def innermost_extents(func: tirx.PrimFunc) -> list[int]:
    found = []

    def see(loop):
        if isinstance(loop.body, s_tir.SBlockRealize):
            found.append(int(loop.extent))

    tvm_ffi.structural_walk(func.body, (tirx.For, see))
    return found


def test_cuts_where_conditions_change():
    func = padded(20, 2, 5, cut=True)
    assert innermost_extents(func) == [2, 20, 5]
    assert "if_then_else" not in func.script()


def test_keeps_the_numbers():
    x = np.random.default_rng(0).normal(size=(3, 7)).astype("float32")
    y = tvm.runtime.tensor(np.full((3, 10), np.nan, "float32"))
    tvm.compile(padded(7, 1, 2, cut=True), target="llvm")["main"](tvm.runtime.tensor(x), y)
    np.testing.assert_array_equal(y.numpy(), np.pad(x, [(0, 0), (1, 2)]))


def test_leaves_other_loops_alone():
    tvm.ir.assert_structural_equal(padded(7, 1, 2, cut=False), padded(7, 1, 2, cut=False))
    assert innermost_extents(padded(7, 1, 2, cut=False)) == [10]
