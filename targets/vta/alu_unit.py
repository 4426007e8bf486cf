"""What ALU computes, in runs of iterations that do not see each other's results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from qcompile.errors import OutOfRange
from qcompile.targets.vta.instructions import Alu, AluOp
from qcompile.targets.vta.loops import Indices
from qcompile.targets.vta.scratchpads import Scratchpads

Values = npt.NDArray[Any]


def apply(pads: Scratchpads, one: Alu, dst: Indices, src: Indices, place: str) -> None:
    """Writes ACC and OUT. dst, src: (iterations,) in running order, inside the buffers."""
    for run in _independent_runs(dst, dst if one.immediate is not None else src):
        first = pads.acc[dst[run]]
        if one.immediate is None:
            second: Values = pads.acc[src[run]]
        else:
            second = np.array(one.immediate, first.dtype)
        result = _operate(one.op, first, second, place)
        pads.acc[dst[run]] = result
        pads.out[dst[run]] = result.astype(pads.out.dtype)


def _independent_runs(dst: Indices, src: Indices) -> Iterator[slice]:
    """Parts of the iterations in which none touches an earlier one's dst."""
    barrier = np.maximum(previous_write(dst, dst), previous_write(dst, src))
    begin, count = 0, len(dst)
    while begin < count:
        blocked = np.flatnonzero(barrier[begin:] >= begin)
        end = begin + int(blocked[0]) if blocked.size else count
        yield slice(begin, end)
        begin = end


def previous_write(dst: Indices, touched: Indices) -> Indices:
    """(iterations,): the last earlier iteration whose dst is what this one touches, or -1."""
    count = len(dst)
    order = np.arange(count)
    keys = np.sort(dst * count + order)
    found = keys[np.searchsorted(keys, touched * count + order) - 1]
    return np.where((found // count == touched) & (found % count < order), found % count, -1)


def _operate(op: AluOp, first: Values, second: Values, place: str) -> Values:
    if op == AluOp.MIN:
        return np.minimum(first, second)
    if op == AluOp.MAX:
        return np.maximum(first, second)
    if op == AluOp.ADD:
        return first + second
    if op == AluOp.MUL:
        return first * second
    bits = first.dtype.itemsize * 8
    # Beyond these, implementations differ in what a shift by a tensor's values does.
    kind, low, high = ("two operands", 0, bits // 2 - 1)
    if second.ndim == 0:
        kind, low, high = ("immediates", 1 - bits, bits - 1)
    if second.min() < low or second.max() > high:
        raise OutOfRange(
            f"{place}: shifts by {second.min()} to {second.max()}; {kind} shift by {low} to {high}"
        )
    right = first >> np.maximum(second, 0)
    return np.where(second >= 0, right, first << np.maximum(-second, 0)).astype(first.dtype)
