"""Codes as the kernels on bits read them: planes of bits, 32 channels in a word."""

from tvm import relax, te, tirx

from qcompile.passes.bit_planes import DataPlanes
from qcompile.passes.declared_patterns import ELEMENTWISE
from qcompile.passes.lowering import Lowering
from qcompile.schedules.pack_bits import pack_planes_of


def packed_codes(lowering: Lowering, x: relax.Expr, data: DataPlanes) -> relax.Expr:
    """x (..., C) int8 or uint8 as words (..., planes, ceil(C / 32)) uint32.

    Declared elementwise, so that it joins the kernel that makes the codes.
    """

    def compute(x: te.Tensor) -> te.Tensor:
        def unsigned(*index: tirx.Var) -> tirx.Expr:
            return ((x(*index).astype("int32") - data.low) // data.step).astype("uint8")

        return pack_planes_of(te.compute(x.shape, unsigned, name="bits"), data.bits)

    return lowering.kernel(compute, [x], "pack", pattern=ELEMENTWISE)
