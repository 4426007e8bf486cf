"""Codes as the kernels on bits read them: planes of bits, 32 channels in a word, and a border."""

from collections.abc import Sequence

from tvm import relax, te, tirx

from qcompile.passes.bit_planes import DataPlanes
from qcompile.passes.declared_patterns import ELEMENTWISE, INJECTIVE
from qcompile.passes.lowering import Lowering
from qcompile.passes.rewriter import shape_of
from qcompile.schedules.pack_bits import pack_bits
from qcompile.schedules.prepare_bits import prepare_bits


def packed_codes(
    lowering: Lowering, x: relax.Expr, data: DataPlanes, groups: int = 1
) -> relax.Expr:
    """x (..., C) int8 or uint8 as words (..., planes, groups * ceil(C / groups / 32)) uint32.

    Declared elementwise, so that it joins the kernel that makes the codes.
    """

    def compute(x: te.Tensor) -> te.Tensor:
        def unsigned(*index: tirx.Var) -> tirx.Expr:
            code = x(*index).astype("int32")
            return ((code - data.low) // data.step).astype("uint8")

        return pack_bits(te.compute(x.shape, unsigned, name="bits"), data.bits, groups)

    return lowering.kernel(compute, [x], "pack", pattern=ELEMENTWISE)


def bordered_words(
    lowering: Lowering,
    words: relax.Expr,
    *,
    pads: Sequence[int],
    columns: int,
    code: int,
    group_channels: int,
) -> relax.Expr:
    """words (N, H, W, planes, words) with rows and columns of `code` in every channel around.

    pads: (top, left, bottom, right); the result has `columns` columns, at least left + W.
    """
    if not any(pads) and columns == shape_of(words)[2]:
        return words

    def compute(x: te.Tensor) -> te.Tensor:
        return prepare_bits(x, pads=pads, columns=columns, code=code, group_channels=group_channels)

    return lowering.kernel(compute, [words], "prepare_bits", pattern=INJECTIVE)
