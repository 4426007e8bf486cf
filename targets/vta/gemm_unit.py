"""What GEMM computes, as few large matrix products.

Additions to ACC wrap and commute, so the running order does not matter. A loop that moves the
weight, or leaves dst in place, is unrolled into micro-ops; the remaining loops are points. Micro-
ops of one dst are one product along the reduction; dst that read the same sources are one along
the outputs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from qcompile.targets.vta.instructions import Gemm
from qcompile.targets.vta.loops import Indices, indices, offsets
from qcompile.targets.vta.scratchpads import Scratchpads


class Group(NamedTuple):
    """dst: (outputs,). src: (reduction,). wgt: (outputs, reduction). Indices at point 0."""

    dst: Indices
    src: Indices
    wgt: Indices


def multiply(pads: Scratchpads, one: Gemm, uops: Indices) -> None:
    """Adds the products to ACC. uops: (count, 3). All indices are inside the buffers."""
    points, unrolled = _split(one)
    table = np.stack(
        [
            indices(uops[:, column], unrolled, factors).reshape(-1)
            for column, factors in enumerate((one.dst, one.src, one.wgt))
        ],
        axis=1,
    )
    dst_offsets, src_offsets = offsets(points, one.dst), offsets(points, one.src)
    for group in _groups(table):
        _accumulate(pads, group, dst_offsets, src_offsets)


def _split(one: Gemm) -> tuple[tuple[int, int], tuple[int, int]]:
    """The extents of the loops over points, and of those unrolled into micro-ops."""
    spatial = [one.wgt[axis] == 0 and one.dst[axis] != 0 for axis in (0, 1)]
    points = [extent if keep else 1 for extent, keep in zip(one.extents, spatial, strict=True)]
    rest = [1 if keep else extent for extent, keep in zip(one.extents, spatial, strict=True)]
    return (points[0], points[1]), (rest[0], rest[1])


def _groups(table: Indices) -> list[Group]:
    """Micro-ops by dst, and dst of equal sources together."""
    by_dst = table[np.argsort(table[:, 0], kind="stable")]
    starts = np.flatnonzero(np.diff(by_dst[:, 0], prepend=-1))
    together: dict[bytes, list[Indices]] = {}
    for rows in np.split(by_dst, starts[1:]):
        together.setdefault(rows[:, 1].tobytes(), []).append(rows)
    return [
        Group(
            np.array([rows[0, 0] for rows in parts]),
            parts[0][:, 1],
            np.stack([rows[:, 2] for rows in parts]),
        )
        for parts in together.values()
    ]


def _accumulate(
    pads: Scratchpads, group: Group, dst_offsets: Indices, src_offsets: Indices
) -> None:
    outputs, reduction = group.wgt.shape
    block_out, block_in = pads.wgt.shape[1:]
    dst = (group.dst + dst_offsets[:, None]).reshape(-1)
    total = np.zeros((len(dst), *pads.acc.shape[1:]), pads.acc.dtype)
    for begin in range(0, reduction, pads.chunk):
        part = slice(begin, begin + pads.chunk)
        count = len(group.src[part])
        source = group.src[part] + src_offsets[:, None]
        weights = pads.wgt[group.wgt[:, part]].transpose(0, 2, 1, 3)
        matrix = weights.reshape(outputs * block_out, count * block_in)
        for b in range(len(pads.inp)):
            sums = pads.inp[b][source].reshape(-1, count * block_in) @ matrix.T
            total[:, b] += _wrapped(sums, pads).reshape(-1, block_out)
    if len(np.unique(dst)) == len(dst):
        pads.acc[dst] += total
    else:
        np.add.at(pads.acc, dst, total)
    pads.out[dst] = pads.acc[dst].astype(pads.out.dtype)


def _wrapped(sums: npt.NDArray[np.floating], pads: Scratchpads) -> npt.NDArray[np.signedinteger]:
    """The low bits of exact sums."""
    wide = np.int32 if pads.float == np.float32 else np.int64
    return sums.astype(wide).astype(pads.acc.dtype)
