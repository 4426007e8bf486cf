"""cut_sums: the blocks it makes and those it leaves alone. Its numbers: test_generic.py."""

import pytest
import tvm
from tvm import s_tir, te, tirx

from qcompile.schedules.whole_sums import cut_sums
from qcompile.targets import load_target

TARGET = load_target("x86-64-v3")  # eight float32 in a vector


def rows(length: int, total=te.sum, axis: int = 1) -> tirx.PrimFunc:
    """One number for each of four rows (axis=1) or columns (axis=0)."""
    x = te.placeholder((4, length) if axis else (length, 4), "float32", name="x")
    k = te.reduce_axis((0, length), name="k")
    y = te.compute((4,), lambda i: total(x[(i, k) if axis else (k, i)], axis=k), name="y")
    return te.create_prim_func([x, y])


def extents(func: tirx.PrimFunc) -> dict[str, list[int]]:
    sch = s_tir.Schedule(tvm.IRModule({"main": func}))
    blocks = [sch.get(block) for block in sch.get_child_blocks(sch.get_sblock("root"))]
    return {b.name_hint: [int(axis.dom.extent) for axis in b.iter_vars] for b in blocks}


@pytest.mark.parametrize("total", [te.sum, te.max, te.min])
def test_cuts_the_remainder_off(total):
    cut = extents(cut_sums(rows(21, total), TARGET))
    assert cut == {"y_whole": [4, 16], "y_rest": [4, 5], "y_join": [4]}


@pytest.mark.parametrize("func", [rows(24), rows(7), rows(21, axis=0)])
def test_leaves_alone(func):
    tvm.ir.assert_structural_equal(cut_sums(func, TARGET), func)
