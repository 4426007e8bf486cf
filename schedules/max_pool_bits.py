"""Max pooling of packed codes of one bit: the words of a window, or-ed.

    y[n, i, j, a, k] = OR over (p, q) of
        x[n, i * s_h + p * d_h - top, j * s_w + q * d_w - left, a, k]

x: (N, H, W, 1, words) uint32; outside of x all codes are 0, the lowest. It has no anchor: the
generic schedules compute it, and whatever TVM fuses with it.
"""

from collections.abc import Sequence

from tvm import te, tirx

from qcompile.schedules.pool2d_plan import pooled_extent


def max_pool2d_bits(
    x: te.Tensor,
    *,
    kernel: Sequence[int],
    strides: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    dilation: Sequence[int] = (1, 1),
    ceil_mode: bool = False,
) -> te.Tensor:
    """The words of the largest codes, (N, OH, OW, 1, words). pads: (top, left, bottom, right)."""
    n, *size, planes, words = (int(extent) for extent in x.shape)
    assert planes == 1
    counts = [
        pooled_extent(size[a], kernel[a], strides[a], pads[a], pads[a + 2], dilation[a], ceil_mode)
        for a in (0, 1)
    ]

    def inside(axis: int, first: tirx.Expr, step: int) -> list[tirx.Expr]:
        """The tests that the position needs for some output."""
        lowest = step - pads[axis]
        highest = (counts[axis] - 1) * strides[axis] + lowest
        tests = [first + lowest >= 0] if lowest < 0 else []
        return [*tests, first + lowest < size[axis]] if highest >= size[axis] else tests

    def entry(image: tirx.Var, i: tirx.Var, j: tirx.Var, a: tirx.Var, k: tirx.Var) -> tirx.Expr:
        zero = tirx.const(0, "uint32")
        found = zero
        row, column = i * strides[0], j * strides[1]
        for p in range(0, kernel[0] * dilation[0], dilation[0]):
            for q in range(0, kernel[1] * dilation[1], dilation[1]):
                word = x[image, row + (p - pads[0]), column + (q - pads[1]), a, k]
                tests = inside(0, row, p) + inside(1, column, q)
                found = found | (tirx.if_then_else(tirx.all(*tests), word, zero) if tests else word)
        return found

    return te.compute((n, *counts, planes, words), entry, name="pooled_bits")
