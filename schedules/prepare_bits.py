"""Packed data with a border for a convolution of bit planes.

    y[n, i, j, a, k] = x[n, i - top, j - left, a, k]    inside x
                     = the word of a border's code      elsewhere

The bits of channels that do not exist are 0 in the border, too. Codes that are packed on the way
(`pack_bits`) make one function with it.
"""

from collections.abc import Sequence
from math import ceil, prod

from tvm import s_tir, te, tirx
from tvm.s_tir.schedule import SBlockRV

from qcompile.schedules import access
from qcompile.schedules.epilogue import is_pack
from qcompile.schedules.pack_bits import schedule_own_loops
from qcompile.schedules.popcount import WORD_BITS
from qcompile.schedules.prepare import PARTITION
from qcompile.targets import Target

SMALLEST_PARALLEL_WORDS = 1 << 18  # copied by one core in about 20 us


def prepare_bits(
    x: te.Tensor,
    *,
    pads: Sequence[int],
    columns: int,
    code: int,
    group_channels: int,
    layer: str = "",
) -> te.Tensor:
    """What is computed. x: (N, H, W, planes, words) uint32; pads: (top, left, bottom, right).

    The result is (N, H + top + bottom, columns, planes, words); columns are at least left + W,
    whatever pads says of the right. Every `group_channels` start at a new word.
    """
    n, height, width, planes, words = (int(extent) for extent in x.shape)
    top, left, bottom, _ = pads
    assert columns >= left + width and 0 <= code < 2**planes
    shape = n, height + top + bottom, columns, planes, words

    def entry(image: tirx.Var, i: tirx.Var, j: tirx.Var, a: tirx.Var, k: tirx.Var) -> tirx.Expr:
        axes = (i, top, height, shape[1]), (j, left, width, columns)
        tests = [index >= first for index, first, _, _ in axes if first]
        tests += [index < first + size for index, first, size, full in axes if first + size < full]
        word = x[image, i - top, j - left, a, k]
        if not tests:
            return word
        return tirx.if_then_else(tirx.all(*tests), word, _border(code, a, k, group_channels))

    attrs = {"qcompile.schedule": "prepare_bits", "qcompile.layer": layer}
    return te.compute(shape, entry, name="prepare_bits", attrs=attrs)


def _border(code: int, plane: tirx.Var, word: tirx.Var, group_channels: int) -> tirx.Expr:
    """The word of channels that all have the code."""
    bit = (tirx.const(code, "uint32") >> plane.astype("uint32")) & tirx.const(1, "uint32")
    all_set = tirx.const(2**WORD_BITS - 1, "uint32")
    words, rest = ceil(group_channels / WORD_BITS), group_channels % WORD_BITS
    if rest:
        some_set = tirx.const(2**rest - 1, "uint32")
        last = word % words == words - 1
        all_set = some_set if words == 1 else tirx.Select(last, some_set, all_set)
    return bit * all_set


def schedule_prepare_bits(sch: s_tir.Schedule, block: SBlockRV, target: Target) -> None:
    """How it is computed: row by row, the border apart from the inside."""
    for other in sch.get_child_blocks(sch.get_sblock("root")):
        if is_pack(sch, other):
            schedule_own_loops(sch, other, target)
        elif sch.get(other) != sch.get(block) and not any(
            is_pack(sch, reader) for reader in sch.get_consumers(other)
        ):
            sch.compute_inline(other)
    image, row, column, *_ = sch.get_loops(block)
    extents = access.extents(sch.get(block))
    parallel = target.cores > 1 and prod(extents) >= SMALLEST_PARALLEL_WORDS
    for loop in (column,) if parallel or extents[0] > 1 else (row, column):
        sch.annotate(loop, PARTITION, 1)
    if parallel:
        sch.parallel(sch.fuse(image, row))
