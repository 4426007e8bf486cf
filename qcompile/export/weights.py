"""The constants of all networks of a bundle, in one block."""

from collections.abc import Sequence
from dataclasses import dataclass

from qcompile.export.arena import stack
from qcompile.export.program import Program


@dataclass(frozen=True)
class Weights:
    """The block, and the offset in it of each network's constants: offsets[network][constant]."""

    offsets: tuple[tuple[int, ...], ...]
    content: bytes


def store_weights(programs: Sequence[Program]) -> Weights:
    """The constants of the programs, equal ones stored once."""
    numbers: dict[bytes, int] = {}
    places = [
        [numbers.setdefault(array.tobytes(), len(numbers)) for array in program.constants]
        for program in programs
    ]
    offsets, size = stack([len(block) for block in numbers])
    content = bytearray(size)
    for offset, block in zip(offsets, numbers, strict=True):
        content[offset : offset + len(block)] = block
    return Weights(tuple(tuple(offsets[k] for k in of) for of in places), bytes(content))
