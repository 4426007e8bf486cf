"""A function of one code, looked up: y = table[x] for uint8, table[x + 128] for int8 codes."""

from math import prod

from tvm import s_tir, te, tirx
from tvm.s_tir.schedule import SBlockRV

from qcompile.schedules.epilogue import inline_epilogue
from qcompile.targets import Target

SMALLEST_PARALLEL_CODES = 1 << 16  # looked up by one core in about 20 us


def table(x: te.Tensor, entries: te.Tensor, *, layer: str = "") -> te.Tensor:
    """What is computed. x: any shape, uint8 or int8; entries: (256,), in the order of the codes.

    The result has the shape of x and the type of entries.
    """

    def entry(*index: tirx.Var) -> tirx.Expr:
        code = x(*index).astype("uint8")
        if str(x.dtype) == "int8":
            code = code ^ tirx.const(128, "uint8")
        return entries[code.astype("int32")]

    attrs = {"qcompile.schedule": "table", "qcompile.layer": layer}
    return te.compute(x.shape, entry, name="looked_up", attrs=attrs)


def schedule_table(sch: s_tir.Schedule, looked_up: SBlockRV, target: Target) -> None:
    """How it is computed: one pass over the codes."""
    output = inline_epilogue(sch, looked_up)
    loops = sch.get_loops(output)
    codes = prod(int(sch.get(loop).extent) for loop in loops)
    fused = sch.fuse(*loops)
    if target.cores > 1 and codes >= SMALLEST_PARALLEL_CODES:
        outer, _ = sch.split(fused, [target.cores, None])
        sch.parallel(outer)
