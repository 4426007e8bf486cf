"""Loop nests over rows: what a row of the leader needs is computed at the row.

A sum along memory becomes a few vectors of partial sums, then halves added to halves, then one
number. A sum across memory keeps a vector of neighbouring sums.
"""

from tvm import s_tir, tirx
from tvm.s_tir.schedule import LoopRV, SBlockRV

from qcompile.schedules import access
from qcompile.schedules.elementwise import (
    lanes_of,
    vectorize_last,
    worth_parallel,
)
from qcompile.schedules.nests import Nest
from qcompile.schedules.whole_sums import sums_along_memory
from qcompile.targets import Target

PARTIAL_VECTORS = (4, 3, 2, 1)  # vectors of partial sums: as many chains of additions at once
UNROLLED_VECTORS = 8  # of neighbouring sums at once
REDUCE = tirx.IterVar.CommReduce
LAST_PARTIALS = 2  # partial sums that the last block adds one by one


def schedule_rows(sch: s_tir.Schedule, nest: Nest, target: Target) -> None:
    """Schedule a nest with members."""
    parallel = worth_parallel(sch, [*nest.members, nest.leader], target)
    along = any(_along(sch, member, target) for member in nest.members)
    members = [
        part
        for member in nest.members
        for part in (
            vector_partials(sch, member, target) if _along(sch, member, target) else [member]
        )
    ]
    place = _order_loops(sch, nest, along, target)
    for member in reversed(members):
        sch.compute_at(member, sch.get_loops(nest.leader)[place - 1], preserve_unit_loops=True)
    row = sch.fuse(*sch.get_loops(nest.leader)[:place])
    if parallel and int(sch.get(row).extent) > 1:
        sch.parallel(row)
    for member in members:
        _schedule_member(sch, member, 1, target)
    if len(sch.get_loops(nest.leader)) > 1:
        vectorize_last(sch, nest.leader, target)


def schedule_total(sch: s_tir.Schedule, block: SBlockRV, target: Target) -> None:
    """Schedule a sum of one value."""
    if not _along(sch, block, target):
        return
    for part in vector_partials(sch, block, target):
        _schedule_member(sch, part, 0, target)


def vector_partials(sch: s_tir.Schedule, block: SBlockRV, target: Target) -> list[SBlockRV]:
    """A sum along memory as blocks of fewer and fewer partial sums; they are returned in order."""
    loop = _reduction_loops(sch, block)[-1]
    lanes = lanes_of(sch, block, target)
    extent = int(sch.get(loop).extent)
    vectors = next(n for n in PARTIAL_VECTORS if extent % (lanes * n) == 0)
    parts = []
    width = lanes * vectors
    while width >= LAST_PARTIALS:
        _, inner = sch.split(loop, [None, width])
        axis = len(sch.get(block).writes[0].region)
        parts.append(sch.rfactor(inner, axis))
        loop = _reduction_loops(sch, block)[-1]
        width = width // vectors if vectors > 1 and width == lanes * vectors else width // 2
    return [*parts, block]


def _along(sch: s_tir.Schedule, block: SBlockRV, target: Target) -> bool:
    """Whether a block sums along memory, over whole vectors."""
    node = sch.get(block)
    lanes = lanes_of(sch, block, target)
    return sums_along_memory(node) and access.extents(node)[-1] % lanes == 0


def _order_loops(sch: s_tir.Schedule, nest: Nest, along: bool, target: Target) -> int:
    """Bring the loops of the rows outside; the number of loops above the members is returned."""
    loops = list(sch.get_loops(nest.leader))
    rows = [loop for axis, loop in enumerate(loops) if axis in nest.rows]
    others = [loop for axis, loop in enumerate(loops) if axis not in nest.rows]
    if len(loops) - 1 in nest.rows and not along:
        width = _chunk(int(sch.get(rows[-1]).extent), lanes_of(sch, nest.leader, target))
        rows[-1], inside = sch.split(rows[-1], [None, width])
        others.append(inside)
    sch.reorder(*rows, *others)
    return len(rows)


def _chunk(extent: int, lanes: int) -> int:
    """Neighbouring sums that are kept at once: the most vectors, up to four, that divide."""
    for vectors in PARTIAL_VECTORS:
        if extent % (lanes * vectors) == 0:
            return lanes * vectors
    return max(n for n in range(1, 4 * lanes + 1) if extent % n == 0)


def _reduction_loops(sch: s_tir.Schedule, block: SBlockRV) -> list[LoopRV]:
    """The loops over which a block sums."""
    kinds = [axis.iter_type for axis in sch.get(block).iter_vars]
    pairs = zip(sch.get_loops(block), _axes(sch, block), strict=True)
    return [loop for loop, axis in pairs if axis is not None and kinds[axis] == REDUCE]


def _axes(sch: s_tir.Schedule, block: SBlockRV) -> list[int | None]:
    """For each loop above a block, the axis of the block whose position it moves, if any."""
    loops = [sch.get(loop) for loop in sch.get_loops(block)]
    values = loops[-1].body.iter_values
    return [
        next((k for k, value in enumerate(values) if access.uses(value, loop.loop_var)), None)
        for loop in loops
    ]


def _schedule_member(sch: s_tir.Schedule, block: SBlockRV, place: int, target: Target) -> None:
    """Schedule the loops of a member below the row: sums outside, neighbours as vectors."""
    node = sch.get(block)
    if not access.is_reduction(node):
        vectorize_last(sch, block, target)
        return
    loops = list(zip(sch.get_loops(block), _axes(sch, block), strict=True))[place:]
    kinds = [axis.iter_type for axis in node.iter_vars]
    known = [(loop, axis) for loop, axis in loops if axis is not None]
    sums = [loop for loop, axis in known if kinds[axis] == REDUCE]
    spatial = {axis: loop for loop, axis in known if kinds[axis] != REDUCE}
    if not spatial:
        init = sch.decompose_reduction(block, sums[0])
        if not sch.get_loops(init):
            sch.add_unit_loop(init)  # TVM's rfactor fails beside a block without loops
        return
    steps = access.stores(node)[0].strides
    last = spatial.pop(next((axis for axis in spatial if steps[axis] == 1), max(spatial)))
    lanes = lanes_of(sch, block, target)
    extent = int(sch.get(last).extent)
    width = next((n for n in (lanes, lanes // 2, lanes // 4) if n > 1 and extent % n == 0), 1)
    vector, lane = sch.split(last, [None, width])
    sch.reorder(*spatial.values(), *sums, vector, lane)
    if width > 1:
        sch.vectorize(lane)
    if extent // width <= UNROLLED_VECTORS:
        sch.unroll(vector)
    sch.decompose_reduction(block, sums[0])
