"""Codes of few bits as planes of bits, 32 channels in a word.

y[..., i, k] = sum over b < 32 of bit i of x[..., 32 k + b] << b        beyond the channels 0
"""

from math import ceil

from tvm import te, tirx

from qcompile.schedules.popcount_x86 import WORD_BITS

PACK = "qcompile.pack"  # annotation of a block that packs: how many planes


def pack_planes_of(codes: te.Tensor, bits: int, layer: str = "") -> te.Tensor:
    """What is computed. codes: (..., C) uint8; the result: (..., bits, ceil(C / 32)) uint32."""
    *outer, channels = (int(extent) for extent in codes.shape)
    whole = channels % WORD_BITS == 0

    def word(*index: tirx.Var) -> tirx.Expr:
        *pixel, plane, k = index
        total = tirx.const(0, "uint32")
        for b in range(min(WORD_BITS, channels)):
            code = codes(*pixel, k * WORD_BITS + b)
            bit = (code.astype("uint32") >> plane.astype("uint32")) & tirx.const(1, "uint32")
            if not whole and b >= channels % WORD_BITS:
                bit = tirx.if_then_else(k < channels // WORD_BITS, bit, tirx.const(0, "uint32"))
            total = total | (bit << tirx.const(b, "uint32"))
        return total

    shape = *outer, bits, ceil(channels / WORD_BITS)
    return te.compute(shape, word, name="packed", attrs={PACK: bits})
