"""Codes as the kernels on bits read them: planes of bits, 32 channels in a word, and a border."""

from collections.abc import Sequence
from math import ceil

import numpy as np
from numpy.typing import NDArray
from tvm import relax, te, tirx

from qcompile.passes.bit_planes import DataPlanes
from qcompile.passes.declared_patterns import ELEMENTWISE, INJECTIVE
from qcompile.passes.facts import vector
from qcompile.passes.lowering import Lowering
from qcompile.passes.rewriter import shape_of
from qcompile.schedules.pack_bits import pack_planes_of
from qcompile.schedules.popcount_x86 import WORD_BITS


def packed_codes(
    lowering: Lowering, x: relax.Expr, data: DataPlanes, groups: int = 1
) -> relax.Expr:
    """x (..., C) int8 or uint8 as words (..., planes, groups * ceil(C / groups / 32)) uint32.

    Declared elementwise, so that it joins the kernel that makes the codes.
    """
    *_, channels = shape_of(x)
    own = channels // groups
    full = ceil(own / WORD_BITS) * WORD_BITS

    def compute(x: te.Tensor) -> te.Tensor:
        def unsigned(*index: tirx.Var) -> tirx.Expr:
            code = x(*index).astype("int32")
            return ((code - data.low) // data.step).astype("uint8")

        bits = te.compute(x.shape, unsigned, name="bits")
        if groups == 1 or own == full:
            return pack_planes_of(bits, data.bits)

        def spread(*index: tirx.Var) -> tirx.Expr:
            *pixel, c = index
            code = bits(*pixel, c // full * own + c % full)
            return tirx.if_then_else(c % full < own, code, tirx.const(0, "uint8"))

        shape = (*x.shape[:-1], groups * full)
        return pack_planes_of(te.compute(shape, spread, name="spread"), data.bits)

    return lowering.kernel(compute, [x], "pack", pattern=ELEMENTWISE)


def bordered_words(
    lowering: Lowering,
    words: relax.Expr,
    *,
    pads: Sequence[int],
    columns: int,
    border: NDArray[np.uint32],
) -> relax.Expr:
    """words (N, H, W, planes, words) with rows and columns of `border` (planes, words) around.

    pads: (top, left, bottom, right); the result has `columns` columns, at least left + W.
    """
    n, height, width, *inner = shape_of(words)
    top, left, bottom, _ = pads
    if not any(pads) and columns == width:
        return words

    def compute(x: te.Tensor, around: te.Tensor) -> te.Tensor:
        def entry(image: tirx.Var, i: tirx.Var, j: tirx.Var, a: tirx.Var, k: tirx.Var) -> tirx.Expr:
            inside = tirx.all(i >= top, i < top + height, j >= left, j < left + width)
            return tirx.if_then_else(inside, x[image, i - top, j - left, a, k], around[a, k])

        shape = (n, height + top + bottom, columns, *inner)
        return te.compute(shape, entry, name="bordered")

    return lowering.kernel(compute, [words, vector(border, "uint32")], "border", pattern=INJECTIVE)


def border_words(data: DataPlanes, channels: int, groups: int) -> NDArray[np.uint32]:
    """The words of a pixel outside the image: (planes, words).

    The code of 0 in every channel where there is one; else no bits.
    """
    own = channels // groups
    bits = np.zeros((groups, ceil(own / WORD_BITS) * WORD_BITS), "uint8")
    bits[:, :own] = 1
    code = data.padding or 0
    planes = [np.packbits(bits * (code >> i & 1), bitorder="little") for i in range(data.bits)]
    return np.stack(planes).view("uint32")
