"""Place tensors of known lifetimes in one block of memory.

Greedy by size: each tensor goes to the smallest gap that holds it among the tensors alive at the
same time. Several orders are tried, then random changes of the best, until the block is as small
as the largest live set, or the trials are used up (offline dynamic storage allocation is NP-hard).
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

ALIGNMENT = 64  # bytes: a cache line, and the widest vector
TRIALS = 200


@dataclass(frozen=True)
class Lifetime:
    """A tensor of `bytes`, alive from step `first` to step `last`, both included."""

    bytes: int
    first: int
    last: int

    @property
    def size(self) -> int:
        return -(-self.bytes // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True)
class Arena:
    """An offset in bytes for each tensor; `lower_bound` is the largest live set."""

    offsets: tuple[int, ...]
    bytes: int
    lower_bound: int


ORDERS: tuple[Callable[[Lifetime], tuple[int, int]], ...] = (
    lambda tensor: (-tensor.size, tensor.first),
    lambda tensor: (-tensor.size * (tensor.last - tensor.first + 1), tensor.first),
    lambda tensor: (tensor.first, -tensor.size),
    lambda tensor: (tensor.first - tensor.last, -tensor.size),
)


def plan_arena(tensors: Sequence[Lifetime]) -> Arena:
    """Offsets, multiples of ALIGNMENT, at which no two tensors alive together overlap."""
    bound = _largest_live_set(tensors)
    overlaps = [
        [k for k, other in enumerate(tensors) if _meet(tensor, other)] for tensor in tensors
    ]
    orders = [sorted(range(len(tensors)), key=lambda k: key(tensors[k])) for key in ORDERS]
    plans = [(_place(tensors, overlaps, order), order) for order in orders]
    best, order = min(plans, key=lambda plan: _bytes(tensors, plan[0]))
    generator = random.Random(0)
    for _ in range(TRIALS if len(tensors) > 1 else 0):
        if _bytes(tensors, best) == bound:
            break
        changed = list(order)
        changed.insert(
            generator.randrange(len(order)), changed.pop(generator.randrange(len(order)))
        )
        offsets = _place(tensors, overlaps, changed)
        if _bytes(tensors, offsets) <= _bytes(tensors, best):
            best, order = offsets, changed
    return Arena(tuple(best), _bytes(tensors, best), bound)


def _meet(a: Lifetime, b: Lifetime) -> bool:
    return a.first <= b.last and b.first <= a.last


def _largest_live_set(tensors: Sequence[Lifetime]) -> int:
    return max(
        (sum(t.size for t in tensors if t.first <= at.first <= t.last) for at in tensors), default=0
    )


def _place(
    tensors: Sequence[Lifetime], overlaps: Sequence[Sequence[int]], order: Sequence[int]
) -> list[int]:
    offsets: dict[int, int] = {}
    for k in order:
        taken = sorted(
            (offsets[other], tensors[other].size) for other in overlaps[k] if other in offsets
        )
        offsets[k] = _smallest_gap(taken, tensors[k].size)
    return [offsets[k] for k in range(len(tensors))]


def _smallest_gap(taken: Sequence[tuple[int, int]], size: int) -> int:
    """The offset of the smallest gap between (offset, size) blocks, or where the last one ends."""
    end, best, best_gap = 0, None, 0
    for offset, length in taken:
        gap = offset - end
        if gap >= size and (best is None or gap < best_gap):
            best, best_gap = end, gap
        end = max(end, offset + length)
    return end if best is None else best


def _bytes(tensors: Sequence[Lifetime], offsets: Sequence[int]) -> int:
    return max((offset + t.size for offset, t in zip(offsets, tensors, strict=True)), default=0)


def stack(sizes: Sequence[int]) -> tuple[list[int], int]:
    """Aligned offsets of blocks one after the other, and the end of the last."""
    offsets, end = [], 0
    for size in sizes:
        offsets.append(end)
        end += -(-size // ALIGNMENT) * ALIGNMENT
    return offsets, end
