"""On-chip buffers as slots of equal size, whose contents are known."""

from __future__ import annotations

from collections.abc import Hashable, Sequence


class Slots:
    """Parts of equal size of an on-chip buffer, and what is in them."""

    def __init__(self, base: int, size: int, count: int) -> None:
        self.base, self.size = base, size
        self.contents: list[Hashable] = [None] * count
        self._next = 0

    def place(self, key: Hashable, kept: Sequence[Hashable] = ()) -> tuple[int, bool]:
        """Where these contents are, or are to be put, and whether they are there already.

        Slots are filled in turn; those with `kept` contents are passed over.
        """
        if key in self.contents:
            return self.base + self.contents.index(key) * self.size, True
        while self.contents[self._next] is not None and self.contents[self._next] in kept:
            self._next = (self._next + 1) % len(self.contents)
        slot, self._next = self._next, (self._next + 1) % len(self.contents)
        self.contents[slot] = key
        return self.base + slot * self.size, False


def slot_count(size: int, together: int, total: int, depth: int, threads: int) -> int:
    """How many slots of that size to make: for all contents, for those used together, or less.

    together: contents that the same tile, or all tiles with the same weights, need again.
    """
    if total * size <= depth:
        return total
    if together * size <= depth:
        return together * min(threads, depth // (together * size))
    return min(threads, depth // size)
