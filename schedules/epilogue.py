"""The elementwise blocks that operator fusion put behind an anchor (bias, requantization,
residual, activation): made one block, computed tile by tile while the sums are in registers.

The order that works, for an anchor whose sums are in scope "local":

    output = inline_epilogue(sch, anchor)
    (split and reorder the loops of the anchor)
    sch.reverse_compute_at(output, tile_loop, preserve_unit_loops=True)
    (fuse and parallelize the outer loops)
    vectorize_epilogue(sch, output, tile_loops, lanes)
    (decompose the reduction, vectorize, tensorize)
"""

from tvm import s_tir
from tvm.s_tir.schedule import SBlockRV


def inline_epilogue(sch: s_tir.Schedule, anchor: SBlockRV, *kept: SBlockRV) -> SBlockRV:
    """Every block but the anchor and those `kept`, inlined into the last one, which is returned.

    Blocks that do not depend on the anchor (a residual's dequantization) are inlined too. Sums
    without an epilogue get a copy as theirs.
    """
    blocks = sch.get_child_blocks(sch.get_sblock("root"))
    (output,) = sch.get_output_blocks(sch.get_sblock("root"))
    if sch.get(output) == sch.get(anchor) and sch.get(anchor).init is not None:
        return sch.cache_write(anchor, 0, "global")
    for block in blocks:
        if sch.get(block) not in [sch.get(own) for own in (anchor, output, *kept)]:
            sch.compute_inline(block)
    return output


def vectorize_epilogue(sch: s_tir.Schedule, output: SBlockRV, tile_loops: int, lanes: int) -> None:
    """Make the last loop of `output` vectors and unroll the other innermost `tile_loops` - 1."""
    *others, channels = sch.get_loops(output)[-tile_loops:]
    vectors, lane = sch.split(channels, [None, lanes])
    sch.vectorize(lane)
    for loop in (*others, vectors):
        sch.unroll(loop)


def store_lanes(channels: int, lanes: int) -> int:
    """The longest vector, at most `lanes` (a power of two), that divides `channels`."""
    return min(lanes, channels & -channels)
