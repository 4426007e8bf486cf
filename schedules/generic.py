"""Whatever has no kernel of its own: the float operators between quantized layers.

The blocks of a PrimFunc become loop nests, each around one *leader*: a block whose elements are
independent, every output being one. What its rows need (sums over a row, exponentials used
twice) is computed inside, row by row; cheap elementwise blocks are inlined.

    softmax(x), rows by columns:
        for row in parallel(rows):
            m = max(x[row, :])            vectors of maxima, then one number
            e[:] = exp(x[row, :] - m)     a row of memory
            s = sum(e[:])
            y[row, :] = e[:] / s          the leader
"""

from math import prod

import tvm
import tvm.error
from tvm import s_tir, tirx
from tvm.s_tir.schedule import SBlockRV, ScheduleError

from qcompile.schedules import access
from qcompile.schedules.conditions import cut_conditions
from qcompile.schedules.elementwise import schedule_elementwise
from qcompile.schedules.epilogue import is_pack
from qcompile.schedules.nests import copy_reductions, group_nests
from qcompile.schedules.reduction import schedule_rows, schedule_total
from qcompile.schedules.tails import cut_tails
from qcompile.schedules.whole_sums import cut_sums
from qcompile.targets import Target

PLAIN = "qcompile.plain_loops"
"""The attribute of a PrimFunc that stays as plain loops: correct, neither vectors nor threads."""

REUSES = 16  # the most times a cheap element is computed again rather than stored


def schedule_generic(func: tirx.PrimFunc, target: Target) -> tirx.PrimFunc:
    """`func` with its loops fused, vectorized and parallel; or as it is, with attribute PLAIN.

    Left alone are functions with blocks that are more than a loop nest around one statement, and
    those that a schedule primitive refuses.
    """
    if not _simple(s_tir.Schedule(tvm.IRModule({"main": func}))):
        return func.with_attr(PLAIN, True)
    sch = s_tir.Schedule(tvm.IRModule({"main": cut_sums(func, target)}))
    try:
        _schedule(sch, target)
    except (ScheduleError, tvm.error.InternalError):
        return func.with_attr(PLAIN, True)
    return cut_conditions(cut_tails(sch.mod["main"])).with_attr("tirx.is_scheduled", True)


def has_blocks(func: tirx.PrimFunc) -> bool:
    """Whether the function's body is a root block around others, as TE computes have it."""
    return isinstance(func.body, s_tir.SBlockRealize) and func.body.block.name_hint == "root"


def _schedule(sch: s_tir.Schedule, target: Target) -> None:
    _inline(sch)
    for block in sch.get_child_blocks(sch.get_sblock("root")):
        if not sch.get_loops(block):
            sch.add_unit_loop(block)  # TVM's rfactor fails beside a block without loops
    copy_reductions(sch)
    for nest in group_nests(sch):
        if nest.members:
            schedule_rows(sch, nest, target)
        elif prod(access.extents(sch.get(nest.leader))) == 1:
            continue
        elif not access.is_reduction(sch.get(nest.leader)):
            schedule_elementwise(sch, nest.leader, target)
        elif len(sch.get(nest.leader).writes) == 1:
            schedule_total(sch, nest.leader, target)


def _inline(sch: s_tir.Schedule) -> None:
    """Inline every elementwise block that is cheaper to compute again than to store."""
    root = sch.get_sblock("root")
    outputs = {sch.get(block).name_hint for block in sch.get_output_blocks(root)}
    for handle in sch.get_child_blocks(root):
        block = sch.get(handle)
        if block.name_hint in outputs or access.is_reduction(block):
            continue
        if any(is_pack(sch, reader) for reader in sch.get_consumers(handle)):
            continue  # which would compute every code of a word in an expression of its own
        readers = [sch.get(reader) for reader in sch.get_consumers(handle)]
        uses = sum(prod(access.extents(reader)) for reader in readers)
        allowed = 1 if access.expensive_calls(block) else REUSES
        if uses <= allowed * prod(access.extents(block)):
            sch.compute_inline(handle)


def _simple(sch: s_tir.Schedule) -> bool:
    """Whether every block is a loop nest around one statement, and calls nothing but arithmetic."""
    blocks = sch.get_child_blocks(sch.get_sblock("root"))
    names = {sch.get(block).name_hint for block in blocks}
    return len(names) == len(blocks) and all(_is_loop_nest(sch, block) for block in blocks)


def _is_loop_nest(sch: s_tir.Schedule, handle: SBlockRV) -> bool:
    """Whether each axis of the block is one loop, in order, and its body only stores."""
    block, loops = sch.get(handle), [sch.get(loop) for loop in sch.get_loops(handle)]
    if access.calls_functions(block):
        return False
    if not loops:
        return prod(access.extents(block)) == 1
    if len(loops) != len(block.iter_vars):
        return False
    values = loops[-1].body.iter_values
    return all(
        isinstance(loop.extent, tirx.IntImm) and loop.loop_var.same_as(value)
        for loop, value in zip(loops, values, strict=True)
    )
