"""What a planned segment is: instructions, the memory they run on, and where tensors lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qcompile.targets.vta.config import Config
from qcompile.targets.vta.instructions import Instruction


@dataclass(frozen=True)
class Placement:
    """Where a tensor lies: `planes` arrays one behind the other, each of blocked elements.

    layout: "codes" (planes are signed digits of INP_WIDTH bits, the lowest first; mostly one) or
    "sums" (planes are the bits of int32, OUT_WIDTH at a time, the lowest first).
    """

    address: int
    bytes: int
    shape: tuple[int, int, int, int]
    layout: str
    planes: int = 1


@dataclass(frozen=True)
class Program:
    """What the accelerator runs. image: byte 0 is physical address 0x1000, inputs are zero.

    layers: (name, first instruction, last instruction).
    """

    config: Config
    instructions: list[Instruction]
    image: npt.NDArray[np.uint8]
    placements: dict[str, Placement]
    layers: list[tuple[str, int, int]]
