"""The constants of all networks of a bundle, in one block.

Equal constants are stored once, and planes of bits that another network has are not stored again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from qcompile.export.arena import stack
from qcompile.export.planes import (
    first_plane,
    is_planes,
    strides_in,
    with_strides,
    with_vectors_of,
)
from qcompile.export.program import Program


@dataclass(frozen=True)
class Weights:
    """The block; the programs, which read constants where they lie; offsets[program][constant]."""

    programs: tuple[Program, ...]
    offsets: tuple[tuple[int, ...], ...]
    content: bytes


@dataclass
class _Constant:
    """A constant and the programs that have it; it may be planes of another one (`whole`)."""

    array: NDArray[Any]
    owners: set[int] = field(default_factory=set)
    whole: "_Constant | None" = None
    offset: int = 0  # in the block; of a part in its whole, until that has a place

    @property
    def gaps(self) -> tuple[int, ...] | None:
        """The strides of a part that has fewer planes than the whole."""
        if self.whole is None or self.array.shape[-2] == self.whole.array.shape[-2]:
            return None
        return strides_in(self.array, self.whole.array)


def store_weights(programs: Sequence[Program]) -> Weights:
    """The constants of the programs; a program alone stays as it is."""
    known: dict[Any, _Constant] = {}
    places: list[list[_Constant]] = []
    for number, program in enumerate(programs):
        places.append([])
        for array in program.constants:
            shape = array.shape if is_planes(array) else None
            constant = known.setdefault((shape, array.tobytes()), _Constant(array))
            constant.owners.add(number)
            places[-1].append(constant)
    _find_parts([constant for constant in known.values() if is_planes(constant.array)])
    content = _stored(list(known.values()))
    offsets = tuple(tuple(constant.offset for constant in each) for each in places)
    reading = [
        with_strides(program, {k: c.gaps for k, c in enumerate(constants) if c.gaps})
        for program, constants in zip(programs, places, strict=True)
    ]
    return Weights(tuple(reading), offsets, content)


def _find_parts(constants: Sequence[_Constant]) -> None:
    """Find those that are planes of another network's."""
    wholes: list[_Constant] = []
    for constant in sorted(constants, key=lambda c: (-c.array.shape[-2], -len(c.array))):
        for whole in wholes:
            own = constant.owners & whole.owners
            plane = None if own else first_plane(constant.array, whole.array)
            if plane is not None:
                constant.whole = whole
                whole.array = with_vectors_of(constant.array, whole.array)
                constant.offset = plane * constant.array.shape[-1] * constant.array.itemsize
                break
        else:
            wholes.append(constant)


def _stored(constants: Sequence[_Constant]) -> bytes:
    """The block of all constants, each told its offset."""
    wholes = [constant for constant in constants if constant.whole is None]
    offsets, size = stack([constant.array.nbytes for constant in wholes])
    content = bytearray(size)
    for offset, constant in zip(offsets, wholes, strict=True):
        constant.offset = offset
        content[offset : offset + constant.array.nbytes] = constant.array.tobytes()
    for constant in constants:
        if constant.whole is not None:
            constant.offset += constant.whole.offset
    return bytes(content)
