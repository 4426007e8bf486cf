"""Codes of few bits by thresholds: how many of them a sum reaches.

    code[..., o] = number of k with sums[..., o] >= thresholds[k, o]

It has no anchor: behind a kernel, it is part of the epilogue, and `pack_bits` may follow it.
"""

from tvm import te, tirx


def threshold(sums: te.Tensor, thresholds: te.Tensor) -> te.Tensor:
    """What is computed. sums: (..., O) int32; thresholds: (levels, O) int32; the result: uint8."""
    levels = int(thresholds.shape[0])

    def code(*index: tirx.Var) -> tirx.Expr:
        passed = [sums(*index) >= thresholds[k, index[-1]] for k in range(levels)]
        total = passed[0].astype("uint8")
        for one in passed[1:]:
            total = total + one.astype("uint8")
        return total

    return te.compute(sums.shape, code, name="threshold")
