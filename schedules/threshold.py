"""Codes of few bits by thresholds: how many of them a sum reaches.

    code[..., o] = number of k with sums[..., o] >= thresholds[k, o]

The thresholds of a channel ascend, so 2**n - 1 of them are searched by halves: n comparisons, each
of which is one bit of the code. It has no anchor: behind a kernel, it is part of the epilogue, and
`pack_bits` may follow it.
"""

from tvm import te, tirx

MOST_SEARCHED = 2**4 - 1  # an expression of TIR repeats what it uses twice: beyond, count


def threshold(sums: te.Tensor, thresholds: te.Tensor) -> te.Tensor:
    """What is computed. sums: (..., O) int32; thresholds: (levels, O) int32, at most 255 levels.

    The result is uint8. 2**n - 1 levels are the fastest; 2**31 - 1 is a threshold for spare ones.
    """
    levels = int(thresholds.shape[0])
    halves = levels & (levels + 1) == 0 and levels <= MOST_SEARCHED

    def code(*index: tirx.Var) -> tirx.Expr:
        by = _searched if halves else _counted
        return by(sums(*index), [thresholds[k, index[-1]] for k in range(levels)])

    return te.compute(sums.shape, code, name="threshold")


def _counted(value: tirx.Expr, thresholds: list[tirx.Expr]) -> tirx.Expr:
    total = (value >= thresholds[0]).astype("uint8")
    for one in thresholds[1:]:
        total = total + (value >= one).astype("uint8")
    return total


def _searched(value: tirx.Expr, thresholds: list[tirx.Expr]) -> tirx.Expr:
    total = tirx.const(0, "uint8")
    passed: list[tirx.Expr] = []
    for plane in reversed(range(len(thresholds).bit_length())):
        passed.append(value >= _middle(thresholds, passed, 2**plane - 1, 2 ** (plane + 1)))
        total = total | (passed[-1].astype("uint8") << tirx.const(plane, "uint8"))
    return total


def _middle(
    thresholds: list[tirx.Expr], passed: list[tirx.Expr], first: int, step: int
) -> tirx.Expr:
    """The threshold in the middle of what the comparisons, from the highest bit on, left over."""
    if not passed:
        return thresholds[first]
    *higher, last = passed
    above = _middle(thresholds, higher, first + step, 2 * step)
    return tirx.Select(last, above, _middle(thresholds, higher, first, 2 * step))
