"""Inlining of fused elementwise blocks, and what `schedule` leaves alone."""

import tvm
from tvm import s_tir, te

from qcompile.schedules import schedule
from qcompile.schedules.epilogue import inline_epilogue, store_lanes
from qcompile.targets import load_target


def chain() -> s_tir.Schedule:
    """sums -> biased -> (residual * 2 + biased), three blocks behind the anchor."""
    x, r = te.placeholder((4, 6), name="x"), te.placeholder((4,), name="r")
    k = te.reduce_axis((0, 6), "k")
    sums = te.compute((4,), lambda i: te.sum(x[i, k], axis=k), name="sums")
    biased = te.compute((4,), lambda i: sums[i] + 1.0, name="biased")
    twice = te.compute((4,), lambda i: r[i] * 2.0, name="twice")
    y = te.compute((4,), lambda i: biased[i] + twice[i], name="y")
    return s_tir.Schedule(te.create_prim_func([x, r, y]))


def test_inlines_everything_into_the_last_block():
    sch = chain()
    output = inline_epilogue(sch, sch.get_sblock("sums"))
    names = [sch.get(b).name_hint for b in sch.get_child_blocks(sch.get_sblock("root"))]
    assert names == ["sums", "y"] and sch.get(output).name_hint == "y"


def test_store_lanes_divide_the_channels():
    assert [store_lanes(n, 16) for n in (64, 24, 10, 7, 1)] == [16, 8, 2, 1, 1]


def test_schedule_keeps_the_name_and_marks_the_function():
    func = chain().mod["main"].with_attr("global_symbol", "kernel")
    scheduled = schedule(func, load_target("znver4"))
    assert scheduled.attrs["global_symbol"] == "kernel"
    assert isinstance(scheduled, tvm.tirx.PrimFunc)
