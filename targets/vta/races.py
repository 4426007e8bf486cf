"""Who touched which elements last, so that what no token orders is found.

In one legal sequence of a program it is enough to hold each access against the last one of the
other modules: within a module everything is in order anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from qcompile.errors import Race
from qcompile.targets.vta.config import Buffer, Config
from qcompile.targets.vta.dram import end_byte, first_byte
from qcompile.targets.vta.instructions import Instruction, Load, Queue, Store
from qcompile.targets.vta.order import Order

Positions = npt.NDArray[np.int32]
DRAM = "DRAM"

_WRITERS = {Buffer.INP: Queue.LOAD, Buffer.WGT: Queue.LOAD, Buffer.OUT: Queue.COMPUTE}
_READERS = {Buffer.INP: Queue.COMPUTE, Buffer.WGT: Queue.COMPUTE, Buffer.OUT: Queue.STORE}


class Races:
    """The last access of each module to each element that two modules share."""

    def __init__(self, config: Config, instructions: Sequence[Instruction], order: Order) -> None:
        self.config = config
        self.order = order
        self.numbers: dict[Queue, list[int]] = {queue: [] for queue in Queue}
        for n, queue in enumerate(order.queues):
            self.numbers[queue].append(n)
        self.last: dict[Any, dict[Queue, Positions]] = {
            buffer: {
                queue: np.zeros(config.depth(buffer), np.int32)
                for queue in (_WRITERS[buffer], _READERS[buffer])
            }
            for buffer in _WRITERS
        }
        stores = [one for one in instructions if isinstance(one, Store) and one.x_size]
        self.begin = min((first_byte(config, one) for one in stores), default=0)
        end = max((end_byte(config, one) for one in stores), default=0)
        self.grain = min(config.element_bytes(buffer) for buffer in Buffer)
        cells = (end - self.begin) // self.grain
        self.last[DRAM] = {queue: np.zeros(cells, np.int32) for queue in Queue}

    def read(self, n: int, buffer: Buffer, elements: Any) -> None:
        """COMPUTE reads INP or WGT, or STORE reads OUT. elements: indices or a slice."""
        self._touch(n, buffer, elements, (_WRITERS[buffer],))

    def write(self, n: int, buffer: Buffer, elements: Any) -> None:
        self._touch(n, buffer, elements, (_READERS[buffer],))

    def transfer(self, n: int, one: Load | Store) -> None:
        """The DRAM side of a LOAD or STORE, row by row where any STORE of the program writes."""
        others = (Queue.STORE,) if isinstance(one, Load) else (Queue.LOAD, Queue.COMPUTE)
        begin, end = first_byte(self.config, one), end_byte(self.config, one)
        cells = len(self.last[DRAM][Queue.STORE])
        if end <= self.begin or begin >= self.begin + cells * self.grain:
            return
        pitch = (end - begin - self._row_bytes(one)) // max(one.y_size - 1, 1)
        for y in range(one.y_size):
            low = (begin + y * pitch - self.begin) // self.grain
            high = low + self._row_bytes(one) // self.grain
            if high > 0 and low < cells:
                self._touch(n, DRAM, slice(max(low, 0), high), others)

    def _row_bytes(self, one: Load | Store) -> int:
        buffer = one.memory if isinstance(one, Load) else Buffer.OUT
        return one.x_size * self.config.element_bytes(buffer)

    def _touch(self, n: int, memory: Any, elements: Any, others: tuple[Queue, ...]) -> None:
        clock, mine, last = self.order.clocks[n], self.order.queues[n], self.last[memory]
        for other in others:
            seen = last[other][elements]
            if seen.size and seen.max() > clock[other]:
                self._raise(n, memory, other, int(seen.max()))
        last[mine][elements] = clock[mine]

    def _raise(self, n: int, memory: Any, other: Queue, position: int) -> None:
        name = memory.name if isinstance(memory, Buffer) else DRAM
        first, second = sorted((n, self.numbers[other][position - 1]))
        queues = self.order.queues
        raise Race(
            f"instruction {first} ({queues[first].name}) and instruction {second} "
            f"({queues[second].name}) touch the same elements of {name}, and no token orders them"
        )
