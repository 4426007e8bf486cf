"""Thresholds and packing behind a kernel, as passes emit them, and what they mean in NumPy."""

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax, te

from qcompile.passes.declared_patterns import DECLARED, ELEMENTWISE
from qcompile.schedules.pack_bits import pack_bits
from qcompile.schedules.threshold import threshold
from tests.schedules.bits import packed_words


def elementwise(compute: Callable[..., te.Tensor], *operands: Any) -> relax.Var:
    """A call of `compute` that TVM fuses behind its first operand."""
    builder = relax.BlockBuilder.current()
    return builder.emit_te(compute, *operands, primfunc_attrs={DECLARED: ELEMENTWISE})


def packed(codes: relax.Expr, bits: int) -> relax.Expr:
    """The planes of codes: an epilogue."""
    return elementwise(pack_bits, codes, bits)


def packed_codes(sums: relax.Expr, thresholds: relax.Expr) -> relax.Expr:
    """The planes of the codes of sums: an epilogue."""
    bits = int(thresholds.ty.shape[0]).bit_length()
    return packed(elementwise(threshold, sums, thresholds), bits)


def packed_reference(sums: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    codes = (sums[..., None, :] >= thresholds).sum(-2)
    bits = len(thresholds).bit_length()
    return packed_words([(codes >> i) & 1 for i in range(bits)])


def thresholds_of(sums: np.ndarray, levels: int, rng: np.random.Generator) -> np.ndarray:
    """Thresholds (levels, O) int32 in order, among the sums of every channel."""
    flat = sums.reshape(-1, sums.shape[-1])
    chosen = rng.integers(0, len(flat), (levels, sums.shape[-1]))
    return np.sort(np.take_along_axis(flat, chosen, 0), 0).astype("int32")
