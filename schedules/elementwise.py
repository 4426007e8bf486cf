"""Blocks whose elements are independent: neighbouring loops become one, the last one vectors.

Positions that are one run of memory in every operand are one loop. A loop that the lanes of a
vector divide is vectorized here; any other is left to LLVM, which adds the remainder, unless it has
products that nothing may contract: those LLVM leaves scalar, and `tails` cuts the loop. Operands
that run along another axis than the output (transposes) are read in tiles that stay in cache.
"""

from math import prod

from tvm import s_tir
from tvm.s_tir.schedule import LoopRV, SBlockRV

from qcompile.schedules import access
from qcompile.schedules.conditions import CUT
from qcompile.targets import Target

EXPENSIVE_OPERATIONS = 30  # arithmetic operations in place of one exponential
PARALLEL_WORK_S = 20e-6  # a parallel loop costs about 2 us, ten times less
TILE = 16  # rows and columns of a transposed tile: a cache line of float32
PARALLEL_CHUNKS = 64  # the most pieces into which one long loop is cut for threads


def schedule_elementwise(sch: s_tir.Schedule, block: SBlockRV, target: Target) -> None:
    """Schedule the loop nest of a block without reduction axes."""
    parallel = worth_parallel(sch, [block], target)
    across = _transposed_axis(sch.get(block))
    if across is None:
        _merge_runs(sch, block, lanes_of(sch, block, target))
        vectorize_last(sch, block, target)
    else:
        _tile_transposed(sch, block, across)
    if parallel:
        parallelize(sch, block)


def worth_parallel(sch: s_tir.Schedule, blocks: list[SBlockRV], target: Target) -> bool:
    """Whether the blocks take one core longer than a parallel loop is worth."""
    cycles = 0.0
    for block in map(sch.get, blocks):
        operations = 2 + EXPENSIVE_OPERATIONS * access.expensive_calls(block)
        lanes = target.vector_bytes / access.widest_bytes(block)
        cycles += prod(access.extents(block)) * operations / lanes
    return target.cores > 1 and cycles / target.clock_hz > PARALLEL_WORK_S


def lanes_of(sch: s_tir.Schedule, block: SBlockRV, target: Target) -> int:
    """Elements of one vector, by the widest number in the block."""
    return max(1, target.vector_bytes // access.widest_bytes(sch.get(block)))


def vectorize_last(sch: s_tir.Schedule, block: SBlockRV, target: Target) -> None:
    """Vectorize the block's last loop where whole vectors divide it, or where LLVM could not.

    A loop along which conditions change is cut where they do instead.
    """
    last = sch.get_loops(block)[-1]
    node = sch.get(block)
    lanes = lanes_of(sch, block, target)
    extent = int(sch.get(last).extent)
    if access.conditional_on(node, len(node.iter_vars) - 1):
        sch.annotate(last, CUT, 1)
    elif lanes > 1 and (extent % lanes == 0 or (extent > lanes and access.fenced(node))):
        _, lane = sch.split(last, [None, lanes])
        sch.vectorize(lane)


def parallelize(sch: s_tir.Schedule, block: SBlockRV) -> None:
    """Run the outer loops of the block on all threads."""
    *outer, last = sch.get_loops(block)
    if not outer:
        extent = int(sch.get(last).extent)
        chunks = max(n for n in range(1, PARALLEL_CHUNKS + 1) if extent % n == 0)
        outer = [sch.split(last, [chunks, None])[0]]
    sch.parallel(sch.fuse(*outer))


def _merge_runs(sch: s_tir.Schedule, block: SBlockRV, lanes: int) -> None:
    """Fuse neighbouring loops whose positions are one run in every operand.

    Where vectors cross the rows of the last axis, only as many loops as whole vectors need: over
    more, TVM often no longer sees that a vector is one run.
    """
    node = sch.get(block)
    sizes = access.extents(node)
    strides = [found.strides for found in (*access.loads(node), *access.stores(node))]
    loops = list(sch.get_loops(block))
    merged = loops[-1:]
    for axis in range(len(loops) - 2, -1, -1):
        runs = all(_one_run(found, axis, sizes[axis + 1]) for found in strides)
        whole = len(merged) == 1 and sizes[-1] % lanes and prod(sizes[axis + 1 :]) % lanes == 0
        if runs and not whole and not access.conditional_on(node, axis):
            merged[0] = sch.fuse(loops[axis], merged[0])
        else:
            merged.insert(0, loops[axis])


def _one_run(strides: tuple[int | None, ...], axis: int, length: int) -> bool:
    inner, outer = strides[axis + 1], strides[axis]
    return inner is not None and outer is not None and outer == inner * length


def _transposed_axis(block: s_tir.SBlock) -> int | None:
    """The axis along which an operand runs that the output crosses; None for no such operand."""
    sizes = access.extents(block)
    for found in access.loads(block):
        if 1 in found.strides and found.strides[-1] not in (0, 1) and sizes[-1] > 1:
            axis = found.strides.index(1)
            return axis if sizes[axis] > 1 else None
    return None


def _tile_transposed(sch: s_tir.Schedule, block: SBlockRV, across: int) -> None:
    """Tile the last axis and the axis `across`, with the last one inside as a vector.

    Each vector is gathered from the rows of a tile and stored as a whole; on AVX-512 that takes a
    third of the time of tiles left to LLVM.
    """
    loops = list(sch.get_loops(block))
    last, crossing = loops.pop(), loops.pop(across)
    rows, row = _split_divisor(sch, crossing)
    columns, column = _split_divisor(sch, last)
    sch.reorder(*loops, rows, columns, row, column)
    if int(sch.get(column).extent) in (4, 8, 16):
        sch.vectorize(column)


def _split_divisor(sch: s_tir.Schedule, loop: LoopRV) -> list[LoopRV]:
    """The loop in two, the inner one of at most `TILE` iterations: a power of two, or a divisor."""
    extent = int(sch.get(loop).extent)
    inner = next((n for n in (16, 8, 4) if extent % n == 0), None)
    inner = inner or max(n for n in range(1, TILE + 1) if extent % n == 0)
    return list(sch.split(loop, [None, inner]))
