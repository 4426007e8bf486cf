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

import tvm
from tvm import s_tir
from tvm.s_tir.schedule import LoopRV, SBlockRV

from qcompile.schedules import access

PACK = "pack_bits"  # schedule of a block that packs the codes of an epilogue into planes of bits
WORD_CODES = 32
SHORT_LANES, SUM_BYTES = 4, 4  # of vectors of 16 bytes


def inline_epilogue(sch: s_tir.Schedule, anchor: SBlockRV, *kept: SBlockRV) -> SBlockRV:
    """Every block but the anchor and those `kept`, inlined into the last one, which is returned.

    Blocks that do not depend on the anchor (a residual's dequantization) are inlined too. Sums
    without an epilogue get a copy as theirs. Behind a block that packs, the last one is the one
    that computes the codes: `pack_at` places the other.
    """
    blocks = sch.get_child_blocks(sch.get_sblock("root"))
    (last,) = sch.get_output_blocks(sch.get_sblock("root"))
    packed = sch.get_producers(last) if is_pack(sch, last) else []
    output = packed[0] if packed else last
    if sch.get(output) == sch.get(anchor) and (packed or sch.get(anchor).init is not None):
        return sch.cache_write(anchor, 0, "global")
    for block in blocks:
        if sch.get(block) not in [sch.get(own) for own in (anchor, output, last, *kept)]:
            sch.compute_inline(block)
    return output


def is_pack(sch: s_tir.Schedule, block: SBlockRV) -> bool:
    """Whether the block packs codes."""
    return str(sch.get(block).annotations.get("qcompile.schedule", "")) == PACK


def pack_at(sch: s_tir.Schedule, output: SBlockRV, loop: LoopRV, codes: int) -> None:
    """Pack the codes of `output` as soon as an iteration of the loop has computed them.

    Nothing happens where no block packs them, or where its `codes` channels are no whole words.
    """
    channels = int(sch.get(output).iter_vars[-1].dom.extent)
    if codes % WORD_CODES or channels % WORD_CODES:
        return
    for block in _packs(sch, output):
        own = len(sch.get_loops(block))
        sch.reverse_compute_at(block, loop, preserve_unit_loops=True)
        for inner in sch.get_loops(block)[-own:]:
            sch.unroll(inner)


def _packs(sch: s_tir.Schedule, output: SBlockRV) -> list[SBlockRV]:
    return [block for block in sch.get_consumers(output) if is_pack(sch, block)]


def vectorize_epilogue(sch: s_tir.Schedule, output: SBlockRV, tile_loops: int, lanes: int) -> None:
    """Make the last loop of `output` vectors and unroll the other innermost `tile_loops` - 1.

    Codes that are packed make vectors of whole words, or as long as divide the loop. So do the
    codes of short vectors of sums, for vectors of 16 bytes: four of them are no vector to store.
    """
    *others, channels = sch.get_loops(output)[-tile_loops:]
    extent = int(sch.get(channels).extent)
    if _packs(sch, output):
        lanes = max(lanes, store_lanes(extent, WORD_CODES))
    elif lanes == SHORT_LANES and _stores_bytes(sch, output):
        lanes = max(lanes, store_lanes(extent, SHORT_LANES * SUM_BYTES))
    vectors, lane = sch.split(channels, [None, lanes])
    sch.vectorize(lane)
    for loop in (*others, vectors):
        sch.unroll(loop)


def _stores_bytes(sch: s_tir.Schedule, block: SBlockRV) -> bool:
    (stored,) = sch.get(block).writes
    return tvm.DataType(access.element_type(stored.source)).bits == 8


def store_lanes(channels: int, lanes: int) -> int:
    """The longest vector, at most `lanes` (a power of two), that divides `channels`."""
    return min(lanes, channels & -channels)
