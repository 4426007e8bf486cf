"""Runs a VTA program on a memory image, as every implementation would, or says what forbids it.

Stricter than the hardware: see `walk`. STORE reads the OUT buffer, which only ALU and GEMM that
adds write. The result does not depend on timing, because nothing that races passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from qcompile.errors import InvalidInput, InvalidProgram, Race
from qcompile.targets.vta import alu_unit, dram, gemm_unit
from qcompile.targets.vta.config import Buffer, Config
from qcompile.targets.vta.instructions import Alu, Finish, Gemm, Instruction, Load, Queue, Store
from qcompile.targets.vta.order import Order, order
from qcompile.targets.vta.races import Races
from qcompile.targets.vta.scratchpads import Scratchpads
from qcompile.targets.vta.walk import Walk


@dataclass
class Counters:
    """What a run moved and computed; padding and GEMM resets are not counted."""

    loaded_bytes: dict[Buffer, int] = field(default_factory=lambda: dict.fromkeys(Buffer, 0))
    stored_bytes: int = 0
    gemm_uops: int = 0
    alu_uops: int = 0


def run(
    config: Config,
    instructions: Sequence[Instruction],
    image: dram.Bytes,
    find_races: bool = True,
) -> Counters:
    """Changes the image in place. image: (bytes,) uint8, byte 0 at physical address 0x1000.

    Raises NotEncodable, InvalidInput and subclasses of InvalidProgram: WrongTokens, Deadlock, Race,
    OutOfRange, UnwrittenRead. The image is then changed in part.
    """
    config.expect_encodable()
    if image.dtype != np.uint8 or image.ndim != 1 or not image.flags.writeable:
        raise InvalidInput(
            f"memory image: {image.ndim} dimensions of {image.dtype}, "
            f"writeable {image.flags.writeable}; it is one dimension of uint8 that can be changed"
        )
    expect_finish(instructions)
    sequence = order(instructions)
    expect_finished(sequence)
    races = Races(config, instructions, sequence) if find_races else None
    machine = _Machine(config, image, Walk(config, races))
    for n in sequence.sequence:
        machine.step(n, instructions[n])
    return machine.counters


def expect_finish(instructions: Sequence[Instruction]) -> None:
    """Raises InvalidProgram unless FINISH stands last, once and without flags."""
    places = [n for n, one in enumerate(instructions) if isinstance(one, Finish)]
    if places != [len(instructions) - 1]:
        raise InvalidProgram(
            f"FINISH stands at {places} of {len(instructions)} instructions; "
            "it is the last one and stands once"
        )
    if instructions[-1] != Finish():
        raise InvalidProgram(f"instruction {places[0]} (Finish): has token flags; it takes none")


def expect_finished(sequence: Order) -> None:
    """Raises Race unless all LOADs and STOREs happen before FINISH, the last instruction."""
    for queue in (Queue.LOAD, Queue.STORE):
        numbers = [n for n, other in enumerate(sequence.queues) if other == queue]
        done = sequence.clocks[-1][queue]
        if done < len(numbers):
            raise Race(
                f"FINISH may run before instruction {numbers[done]} ({queue.name}): no token "
                "orders them; end with a COMPUTE no-op that takes a token of its last instruction"
            )


class _Machine:
    """The buffers, and one instruction after the other."""

    def __init__(self, config: Config, image: dram.Bytes, walk: Walk) -> None:
        self.config = config
        self.image = image
        self.walk = walk
        self.pads = Scratchpads(config)
        self.counters = Counters()

    def step(self, n: int, one: Instruction) -> None:
        place = f"instruction {n} ({type(one).__name__})"
        match one:
            case Load() if one.x_size:
                self._load(n, one, place)
            case Store() if one.x_size:
                rows = dram.rows(self.config, one, self.image, place)
                data = self.pads.stored(self.walk.store(n, one, place))
                rows[:] = data.reshape(one.y_size, -1)
                self.counters.stored_bytes += data.size
            case Gemm():
                self._gemm(n, one, place)
            case Alu():
                touched = self.walk.alu(n, one, place)
                dst, src = touched.dst.reshape(-1), touched.src.reshape(-1)
                alu_unit.apply(self.pads, one, dst, src, place)
                self.counters.alu_uops += dst.size

    def _load(self, n: int, one: Load, place: str) -> None:
        elements = self.walk.load(n, one, place)
        data = dram.padded_rows(self.config, one, self.image, place)
        if one.memory == Buffer.UOP:
            self.walk.load_uops(elements, data.view("<u4").reshape(-1))
        else:
            self.pads.fill(one.memory, elements, data)
        size = self.config.element_bytes(one.memory)
        self.counters.loaded_bytes[one.memory] += one.y_size * one.x_size * size

    def _gemm(self, n: int, one: Gemm, place: str) -> None:
        touched = self.walk.gemm(n, one, place)
        if one.reset:
            self.pads.acc[touched.dst] = 0
            return
        gemm_unit.multiply(self.pads, one, touched.uops)
        self.counters.gemm_uops += touched.dst.size
