"""Runs a VTA program on a memory image, as every implementation would, or says what forbids it.

Stricter than the hardware: on-chip contents that the program did not write are never read,
modules that touch the same elements are ordered by tokens, and every index is inside its buffer.
STORE reads the OUT buffer, which only ALU and GEMM that adds write.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from qcompile.errors import InvalidProgram, OutOfRange, Race
from qcompile.targets.vta import alu_unit, dram, gemm_unit
from qcompile.targets.vta.config import Buffer, Config
from qcompile.targets.vta.elements import pack, unpack
from qcompile.targets.vta.encoding import uop_table
from qcompile.targets.vta.instructions import Alu, Finish, Gemm, Instruction, Load, Queue, Store
from qcompile.targets.vta.loops import Indices, indices
from qcompile.targets.vta.order import Order, order
from qcompile.targets.vta.races import Races
from qcompile.targets.vta.scratchpads import Scratchpads


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

    Raises WrongTokens, Deadlock, Race, OutOfRange, UnwrittenRead and InvalidProgram.
    """
    config.expect_encodable()
    _expect_finish(instructions)
    sequence = order(instructions)
    machine = _Machine(config, image, Races(config, instructions, sequence) if find_races else None)
    for n in sequence.sequence:
        machine.step(n, instructions[n])
    _expect_finished(sequence)
    return machine.counters


def _expect_finish(instructions: Sequence[Instruction]) -> None:
    places = [n for n, one in enumerate(instructions) if isinstance(one, Finish)]
    if places != [len(instructions) - 1]:
        raise InvalidProgram(
            f"FINISH stands at {places} of {len(instructions)} instructions; "
            "it is the last one and stands once"
        )
    if instructions[-1] != Finish():
        raise InvalidProgram(f"instruction {places[0]} (Finish): has token flags; it takes none")


def _expect_finished(sequence: Order) -> None:
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

    def __init__(self, config: Config, image: dram.Bytes, races: Races | None) -> None:
        self.config = config
        self.image = image
        self.races = races
        self.pads = Scratchpads(config)
        self.counters = Counters()

    def step(self, n: int, one: Instruction) -> None:
        place = f"instruction {n} ({type(one).__name__})"
        match one:
            case Load() if one.x_size:
                self._load(n, one, place)
            case Store() if one.x_size:
                self._store(n, one, place)
            case Gemm():
                self._gemm(n, one, place)
            case Alu():
                self._alu(n, one, place)

    def _load(self, n: int, one: Load, place: str) -> None:
        buffer, count = one.memory, one.rows * one.columns
        if not one.y_size:
            raise OutOfRange(f"{place}: y_size is 0; a block has 1 row or more")
        self.pads.expect_inside(place, buffer, one.sram_base, one.sram_base + count - 1)
        elements = slice(one.sram_base, one.sram_base + count)
        size = self.config.element_bytes(buffer)
        y0, _, x0, _ = one.pads
        block = np.zeros((one.rows, one.columns * size), np.uint8)
        part = block[y0 : y0 + one.y_size, x0 * size : (x0 + one.x_size) * size]
        part[:] = dram.rows(self.config, one, self.image, place)
        if self.races:
            self.races.transfer(n, one)
            if buffer in (Buffer.INP, Buffer.WGT):
                self.races.write(n, buffer, elements)
        self._fill(buffer, elements, block.reshape(count, size))
        self.pads.written[buffer][elements] = True
        self.counters.loaded_bytes[buffer] += one.y_size * one.x_size * size

    def _fill(self, buffer: Buffer, elements: slice, data: dram.Bytes) -> None:
        pads, config = self.pads, self.config
        if buffer == Buffer.UOP:
            pads.uop[elements] = uop_table(config, data.view("<u4").reshape(-1))
            return
        scalars = unpack(data, config.width(buffer))
        if buffer == Buffer.INP:
            shape = (len(data), config.batch, config.block_in)
            pads.inp[:, elements] = scalars.reshape(shape).transpose(1, 0, 2)
        elif buffer == Buffer.WGT:
            pads.wgt[elements] = scalars.reshape(-1, config.block_out, config.block_in)
        else:
            pads.acc[elements] = scalars.reshape(-1, config.batch, config.block_out)

    def _store(self, n: int, one: Store, place: str) -> None:
        count = one.y_size * one.x_size
        if not one.y_size:
            raise OutOfRange(f"{place}: y_size is 0; a block has 1 row or more")
        self.pads.expect_inside(place, Buffer.OUT, one.sram_base, one.sram_base + count - 1)
        elements = slice(one.sram_base, one.sram_base + count)
        self.pads.expect_written(place, Buffer.OUT, elements)
        if self.races:
            self.races.read(n, Buffer.OUT, elements)
            self.races.transfer(n, one)
        data = pack(self.pads.out[elements].reshape(count, -1), self.config.out_width)
        dram.rows(self.config, one, self.image, place)[:] = data.reshape(one.y_size, -1)
        self.counters.stored_bytes += data.size

    def _uops(self, one: Gemm | Alu, place: str) -> Indices:
        begin, end = one.uops
        if not (begin < end and min(one.extents) > 0):
            raise OutOfRange(
                f"{place}: micro-ops {begin} to {end}, loops {one.extents}; none may be empty"
            )
        self.pads.expect_inside(place, Buffer.UOP, begin, end - 1)
        self.pads.expect_written(place, Buffer.UOP, slice(begin, end))
        return self.pads.uop[begin:end]

    def _touched(
        self, one: Gemm | Alu, buffer: Buffer, base: Indices, factors: tuple[int, int], place: str
    ) -> Indices:
        """(iterations, micro-ops): the elements, all inside the buffer."""
        last = (one.extents[0] - 1) * factors[0] + (one.extents[1] - 1) * factors[1]
        self.pads.expect_inside(place, buffer, int(base.min()), int(base.max()) + last)
        return indices(base, one.extents, factors)

    def _gemm(self, n: int, one: Gemm, place: str) -> None:
        pads, uops = self.pads, self._uops(one, place)
        dst = self._touched(one, Buffer.ACC, uops[:, 0], one.dst, place)
        src = self._touched(one, Buffer.INP, uops[:, 1], one.src, place)
        wgt = self._touched(one, Buffer.WGT, uops[:, 2], one.wgt, place)
        if one.reset:
            pads.acc[dst] = 0
            pads.written[Buffer.ACC][dst] = True
            # Implementations differ in what a reset leaves in OUT.
            pads.written[Buffer.OUT][dst] = False
        else:
            pads.expect_written(place, Buffer.INP, src)
            pads.expect_written(place, Buffer.WGT, wgt)
            pads.expect_written(place, Buffer.ACC, dst)
            gemm_unit.multiply(pads, one, uops)
            pads.written[Buffer.OUT][dst] = True
            self.counters.gemm_uops += dst.size
        if self.races:
            self.races.write(n, Buffer.OUT, dst)
            if not one.reset:
                self.races.read(n, Buffer.INP, src)
                self.races.read(n, Buffer.WGT, wgt)

    def _alu(self, n: int, one: Alu, place: str) -> None:
        pads, uops = self.pads, self._uops(one, place)
        dst = self._touched(one, Buffer.ACC, uops[:, 0], one.dst, place).reshape(-1)
        src = self._touched(one, Buffer.ACC, uops[:, 1], one.src, place).reshape(-1)
        pads.expect_written(place, Buffer.ACC, dst)
        if one.immediate is None:
            pads.expect_written(place, Buffer.ACC, src)
        if self.races:
            self.races.write(n, Buffer.OUT, dst)
        alu_unit.apply(pads, one, dst, src, place)
        pads.written[Buffer.OUT][dst] = True
        self.counters.alu_uops += dst.size
