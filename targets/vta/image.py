"""The DRAM image of a program: what lies where from physical address 0x1000 up.

Addresses are given out before contents exist, so that a program can be timed without its weights.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from qcompile.targets.vta.dram import IMAGE_ADDRESS

LEAST_ALIGNMENT = 64  # of any buffer in DRAM; elements that are larger align to their size


def aligned(number: int, alignment: int) -> int:
    return -(-number // alignment) * alignment


@dataclass
class Image:
    """Addresses of constants, each by a key that tells its contents, and of free space."""

    end: int = IMAGE_ADDRESS
    constants: dict[Hashable, tuple[int, int]] = field(default_factory=dict)  # address, bytes

    def constant(self, key: Hashable, size: int, element_bytes: int) -> int:
        """The address of these contents, the same for the same key."""
        if key not in self.constants:
            self.constants[key] = self.reserve(size, element_bytes), size
        return self.constants[key][0]

    def reserve(self, size: int, element_bytes: int) -> int:
        """The address of that many bytes that nothing else uses."""
        address = aligned(self.end, max(element_bytes, LEAST_ALIGNMENT))
        self.end = address + size
        return address
