"""Codes of few bits as planes of bits, 32 channels in a word.

    y[..., i, k] = sum over b < 32 of bit i of x[..., 32 k + b] << b        beyond the channels 0

Fused behind a kernel, the codes of a tile are packed while they are in registers or on the stack.
"""

from math import ceil, prod

from tvm import s_tir, te, tirx
from tvm.s_tir.schedule import LoopRV, SBlockRV

from qcompile.schedules import access
from qcompile.schedules.bits_of import bits_of
from qcompile.schedules.epilogue import PACK, inline_epilogue, is_pack
from qcompile.schedules.popcount import WORD_BITS
from qcompile.targets import Target

SMALLEST_PARALLEL_WORDS = 1 << 15  # packed by one core in about 20 us


def pack_bits(codes: te.Tensor, bits: int, groups: int = 1, layer: str = "") -> te.Tensor:
    """What is computed. codes: (..., C) uint8; the result: (..., bits, words) uint32.

    The channels of every group start at a new word: words = groups * ceil(C / groups / 32).
    """
    *outer, channels = (int(extent) for extent in codes.shape)
    size = channels // groups
    words, rest = ceil(size / WORD_BITS), size % WORD_BITS

    def word(*index: tirx.Var) -> tirx.Expr:
        *pixel, plane, k = index
        start = k * WORD_BITS if rest == 0 else k // words * size + k % words * WORD_BITS

        def first(count: int) -> tirx.Expr:
            return bits_of([codes(*pixel, start + b) for b in range(count)], plane)

        if rest == 0:
            return first(WORD_BITS)
        if words == 1:
            return first(rest)
        return tirx.if_then_else(k % words < words - 1, first(WORD_BITS), first(rest))

    attrs = {"qcompile.schedule": PACK, "qcompile.layer": layer}
    return te.compute((*outer, bits, groups * words), word, name="packed", attrs=attrs)


def schedule_pack_bits(sch: s_tir.Schedule, packed: SBlockRV, target: Target) -> None:
    """How it is computed alone: the codes of each word, if they are no operand, then its planes."""
    inline_epilogue(sch, packed)
    schedule_own_loops(sch, packed, target)


def schedule_own_loops(sch: s_tir.Schedule, packed: SBlockRV, target: Target) -> None:
    """Schedule packing with loops of its own, and the block of the codes inside of them."""
    word = _planes_inside(sch, packed, target)
    for codes in sch.get_producers(packed):
        sch.compute_at(codes, word, preserve_unit_loops=True)
        lanes = sch.get_loops(codes)[-1]
        # LLVM widens no instruction of a target to a full vector: it ends the process.
        whole = int(sch.get(lanes).extent).bit_count() == 1
        (sch.vectorize if whole else sch.unroll)(lanes)


def packs_elements(sch: s_tir.Schedule, packed: SBlockRV) -> bool:
    """Whether the codes are computed each by itself, by blocks without sums."""
    (last,) = sch.get_output_blocks(sch.get_sblock("root"))
    blocks = [sch.get(block) for block in sch.get_child_blocks(sch.get_sblock("root"))]
    return sch.get(last) == sch.get(packed) and not any(map(access.is_reduction, blocks))


def schedule_packs(sch: s_tir.Schedule, target: Target) -> None:
    """Schedule the packing that a kernel left behind its own loops."""
    for block in sch.get_child_blocks(sch.get_sblock("root")):
        if is_pack(sch, block) and len(sch.get_loops(block)) == len(sch.get(block).iter_vars):
            _planes_inside(sch, block, target)


def _planes_inside(sch: s_tir.Schedule, packed: SBlockRV, target: Target) -> LoopRV:
    """All planes of a word after each other; its loop is returned."""
    words = prod(int(axis.dom.extent) for axis in sch.get(packed).iter_vars)
    *outer, plane, word = sch.get_loops(packed)
    sch.reorder(word, plane)
    sch.unroll(plane)
    if target.cores > 1 and outer and words >= SMALLEST_PARALLEL_WORDS:
        sch.parallel(sch.fuse(*outer))
    return word
