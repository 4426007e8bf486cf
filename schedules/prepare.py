"""Data made ready for the int8 kernels: uint8, with a border and with spare channels and columns.

    y[n, i, j, c] = code(x[n, i - top, j - left, c])    inside x
                  = zero                                 elsewhere

code(x) is x for uint8 and x + 128 for int8 (the bits xor 0x80). zero is such a code. The cost is
one pass over the bytes: what produces x (dequantize, quantize, transpose) is computed on the way.
"""

from collections.abc import Sequence
from math import prod

from tvm import s_tir, te, tirx
from tvm.s_tir.schedule import SBlockRV

from qcompile.schedules.epilogue import inline_epilogue, store_lanes
from qcompile.schedules.planes import interleave_planes, reads_planes
from qcompile.targets import Target

PARTITION = "pragma_loop_partition_hint"  # the border and the inside become loops of their own
SMALLEST_PARALLEL_BYTES = 1 << 20  # copied by one core in about 20 us
FEWEST_LANES = 16  # shorter vectors of channels lose against vectors of whole rows


def prepare(
    x: te.Tensor,
    *,
    pads: Sequence[int],
    channels: int,
    columns: int,
    zero: int,
    layer: str = "",
) -> te.Tensor:
    """What is computed. x: (N, H, W, C) uint8 or int8; pads: (top, left, bottom, right).

    The result is (N, H + top + bottom, columns, channels) uint8; columns are at least
    left + W, whatever pads says of the right.
    """
    n, height, width, inside = (int(extent) for extent in x.shape)
    top, left, bottom, _ = pads
    assert columns >= left + width and channels >= inside and 0 <= zero <= 255
    shape = n, height + top + bottom, columns, channels

    def code(*index: tirx.Var) -> tirx.Expr:
        value = x(*index).astype("uint8")
        return value ^ tirx.const(128, "uint8") if str(x.dtype) == "int8" else value

    codes = te.compute(x.shape, code, name="codes")

    def entry(image: tirx.Var, i: tirx.Var, j: tirx.Var, c: tirx.Var) -> tirx.Expr:
        axes = (i, top, height, shape[1]), (j, left, width, columns), (c, 0, inside, channels)
        tests = [index >= first for index, first, _, _ in axes if first]
        tests += [index < first + size for index, first, size, full in axes if first + size < full]
        value = codes[image, i - top, j - left, c]
        if not tests:
            return value
        return tirx.if_then_else(tirx.all(*tests), value, tirx.const(zero, "uint8"))

    attrs = {"qcompile.schedule": "prepare", "qcompile.layer": layer, "qcompile.inside": inside}
    return te.compute(shape, entry, name="prepare", attrs=attrs)


def schedule_prepare(sch: s_tir.Schedule, block: SBlockRV, target: Target) -> None:
    """How it is computed: row by row, in vectors of channels, or of pixels where those are few."""
    inside = int(sch.get(block).annotations["qcompile.inside"])
    shape = _shape(sch, block)
    lanes = store_lanes(inside | shape[-1], target.vector_bytes)
    parallel = target.cores > 1 and prod(shape) >= SMALLEST_PARALLEL_BYTES
    *_, last = sch.get_child_blocks(sch.get_sblock("root"))
    if inside == shape[-1] and lanes < FEWEST_LANES and sch.get(last) == sch.get(block):
        image, row = _by_pixels(sch, block, target)
    else:
        image, row = _by_channels(sch, block, lanes, parallel or shape[0] > 1)
    if parallel:
        sch.parallel(sch.fuse(image, row))


def _by_channels(
    sch: s_tir.Schedule, block: SBlockRV, lanes: int, many_images: bool
) -> tuple[s_tir.schedule.LoopRV, s_tir.schedule.LoopRV]:
    """Vectors of `lanes` channels; the loops over images and rows are returned."""
    output = inline_epilogue(sch, block)
    image, row, column, channel = sch.get_loops(output)
    vectors, lane = sch.split(channel, [None, lanes])
    sch.vectorize(lane)
    for loop in (column, vectors) if many_images else (row, column, vectors):
        sch.annotate(loop, PARTITION, 1)
    return image, row


def _by_pixels(
    sch: s_tir.Schedule, block: SBlockRV, target: Target
) -> tuple[s_tir.schedule.LoopRV, s_tir.schedule.LoopRV]:
    """Fill all with zeros, then write rows; the loops over images and rows are returned."""
    (codes,) = sch.get_producers(block)
    padded = _shape(sch, codes) != _shape(sch, block)
    for other in sch.get_child_blocks(sch.get_sblock("root")):
        if sch.get(other) not in (sch.get(codes), sch.get(block)):
            sch.compute_inline(other)
    planes = reads_planes(sch, codes)
    if not planes:
        sch.compute_inline(codes)
    if padded:
        filled = sch.decompose_padding(block, sch.get_loops(block)[0])
        _, lane = sch.split(sch.fuse(*sch.get_loops(filled)), [None, target.vector_bytes])
        sch.vectorize(lane)
    image, row, column, channel = sch.get_loops(block)
    if planes:
        interleave_planes(sch, codes, block, target)
    else:
        _, lane = sch.split(sch.fuse(column, channel), [None, target.vector_bytes])
        sch.vectorize(lane)
    return image, row


def _shape(sch: s_tir.Schedule, block: SBlockRV) -> list[int]:
    return [int(axis.dom.extent) for axis in sch.get(block).iter_vars]
