"""Codes of few bits by thresholds: how many of them a sum reaches.

    code[..., o] = low + step * #{k : sums[..., o] >= thresholds[k, o]}
                 = low + step * (levels - the same)                      where flip[o] is -1

It has no anchor: behind a kernel, it is part of the epilogue, and `pack_bits` may follow it.
"""

from tvm import te, tirx


def threshold(
    sums: te.Tensor,
    thresholds: te.Tensor,
    *flip: te.Tensor,
    low: int = 0,
    step: int = 1,
    dtype: str = "uint8",
) -> te.Tensor:
    """What is computed. sums: (..., O) integers; thresholds: (levels, O) int32; flip: (O,) int32.

    flip is -1 or 0; without it no channel is turned around. The result is `dtype`.
    """
    levels = int(thresholds.shape[0])

    def code(*index: tirx.Var) -> tirx.Expr:
        value = sums(*index).astype("int32")
        passed = [value >= thresholds[k, index[-1]] for k in range(levels)]
        total = passed[0].astype(dtype)
        for one in passed[1:]:
            total = total + one.astype(dtype)
        for mask in flip:  # -1 - total + levels + 1, or total
            turned = mask[index[-1]].astype(dtype)
            total = (total ^ turned) + (turned & tirx.const(levels + 1, dtype))
        return total * tirx.const(step, dtype) + tirx.const(low, dtype)

    return te.compute(sums.shape, code, name="threshold")
