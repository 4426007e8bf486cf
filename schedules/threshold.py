"""Codes of few bits by thresholds: how many of them a sum reaches.

    code[..., o] = low + step * #{k : sums[..., o] >= thresholds[k, o]}
                 = low + step * (levels - the same)                      where flip[o] is -1

The thresholds of a channel ascend, so 2**n - 1 of them are searched by halves: n comparisons, each
of which is one bit of the code. It has no anchor: behind a kernel, it is part of the epilogue, and
`pack_bits` may follow it.
"""

from tvm import te, tirx

MOST_SEARCHED = 2**4 - 1  # an expression of TIR repeats what it uses twice: beyond, count


def threshold(
    sums: te.Tensor,
    thresholds: te.Tensor,
    *flip: te.Tensor,
    low: int = 0,
    step: int = 1,
    dtype: str = "uint8",
) -> te.Tensor:
    """What is computed. sums: (..., O) integers; thresholds: (levels, O); flip: (O,) int32.

    thresholds: int32, or int16 where the sums have 8 bits: twice as many fit a vector.
    flip is -1 or 0; without it no channel is turned around. The result is `dtype`. At most 255
    levels; 2**n - 1 are the fastest, and 2**31 - 1 is a threshold for spare ones.
    """
    levels = int(thresholds.shape[0])
    halves = levels & (levels + 1) == 0 and levels <= MOST_SEARCHED

    def code(*index: tirx.Var) -> tirx.Expr:
        value = sums(*index).astype(thresholds.dtype)
        by = _searched if halves else _counted
        total = by(value, [thresholds[k, index[-1]] for k in range(levels)])
        for mask in flip:  # -1 - total + levels + 1, or total
            turned = mask[index[-1]].astype("uint8")
            total = (total ^ turned) + (turned & tirx.const((levels + 1) % 256, "uint8"))
        return total.astype(dtype) * tirx.const(step, dtype) + tirx.const(low, dtype)

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
