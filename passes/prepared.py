"""Codes as the kernels read them: unsigned, and padded to whole reads."""

from collections.abc import Sequence

from tvm import relax, te

from qcompile.passes.declared_patterns import INJECTIVE
from qcompile.passes.lowering import Lowering
from qcompile.passes.rewriter import dtype_of, shape_of
from qcompile.schedules.prepare import prepare

SIGN_SHIFT = 128  # int8 codes become uint8 by adding it


def unsigned_zero(x: relax.Expr, zero_point: int) -> int:
    """The zero point of `x` once its codes are unsigned."""
    return zero_point + (SIGN_SHIFT if dtype_of(x) == "int8" else 0)


def prepared_codes(
    lowering: Lowering,
    x: relax.Expr,
    *,
    pads: Sequence[int],
    channels: int,
    columns: int,
    zero: int,
) -> relax.Expr:
    """x (N, H, W, C) as uint8 (N, H + pads, columns, channels), filled up with `zero`.

    pads: (top, left, bottom, right). Codes that are right already are returned as they are.
    """
    _, _, width, depth = shape_of(x)
    right_already = not any(pads) and channels == depth and columns == width
    if right_already and dtype_of(x) == "uint8":
        return x

    def compute(x: te.Tensor) -> te.Tensor:
        return prepare(x, pads=tuple(pads), channels=channels, columns=columns, zero=zero)

    return lowering.kernel(compute, [x], "prepare", pattern=INJECTIVE)
