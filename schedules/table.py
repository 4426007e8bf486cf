"""A function of one code, looked up: y = table[x] for uint8, table[x + 128] for int8 codes."""

from math import prod
from typing import Any

from tvm import s_tir, te, tirx
from tvm.s_tir.schedule import SBlockRV

from qcompile.schedules.epilogue import inline_epilogue
from qcompile.schedules.lookup import ENTRIES, lookup
from qcompile.targets import Target

SMALLEST_PARALLEL_CODES = 1 << 18  # looked up by one core in 10 to 200 us


def table(x: te.Tensor, entries: te.Tensor, *, layer: str = "") -> te.Tensor:
    """What is computed. x: any shape, uint8 or int8; entries: (256,), in the order of the codes.

    The result has the shape of x and the type of entries.
    """

    def entry(*index: tirx.Var) -> tirx.Expr:
        code = x(*index).astype("uint8")
        if str(x.dtype) == "int8":
            code = code ^ tirx.const(128, "uint8")
        return lookup(code, entries)

    attrs = {"qcompile.schedule": "table", "qcompile.layer": layer}
    return te.compute(x.shape, entry, name="looked_up", attrs=attrs)


def schedule_table(sch: s_tir.Schedule, _: SBlockRV, target: Target) -> None:
    """How it is computed: one pass over the codes, in vectors (see lookup).

    Only as many axes become one loop as whole vectors need: TVM sees one run of memory in a vector
    that crosses rows of two axes, and often not in one of three.
    """
    (output,) = sch.get_output_blocks(sch.get_sblock("root"))
    output = inline_epilogue(sch, output)
    *outer, last = sch.get_loops(output)
    codes = prod(int(axis.dom.extent) for axis in sch.get(output).iter_vars)
    joined = _elementwise(sch, output)
    while joined and outer and int(sch.get(last).extent) % target.vector_bytes:
        last = sch.fuse(outer.pop(), last)
    vectors, lane = sch.split(last, [None, target.vector_bytes])
    sch.vectorize(lane)
    if target.cores > 1 and codes >= SMALLEST_PARALLEL_CODES:
        if prod(int(sch.get(loop).extent) for loop in outer) < target.cores:
            outer.append(sch.split(vectors, [target.cores, None])[0])
        sch.parallel(sch.fuse(*outer) if len(outer) > 1 else outer[0])


def _elementwise(sch: s_tir.Schedule, block: SBlockRV) -> bool:
    """Whether each iteration reads one element of every tensor, at its own place."""
    axes = [axis.var for axis in sch.get(block).iter_vars]
    return all(
        len(region.region) == len(axes)
        and all(at.min.same_as(axis) for at, axis in zip(region.region, axes, strict=True))
        for region in sch.get(block).reads
        if not _is_table(region)
    )


def _is_table(region: Any) -> bool:
    return [int(extent) for extent in region.source.ty.shape] == [ENTRIES]
