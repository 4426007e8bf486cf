"""A board made of files: its accelerator is a thread that runs the functional simulator."""

import ctypes
import mmap
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from qcompile.targets.vta import functional
from qcompile.targets.vta.config import DEFAULT
from qcompile.targets.vta.encoding import decode

PAGE = 4096
MEMORY_ADDRESS, MEMORY_BYTES = 0x40000, 64 * PAGE
WINDOW = 0x20000


class Options(ctypes.Structure):
    """struct NAME_vta_linux."""

    _fields_ = (
        ("design", ctypes.c_int32),
        ("registers", ctypes.c_char_p),
        ("registers_offset", ctypes.c_uint64),
        ("memory", ctypes.c_char_p),
        ("memory_offset", ctypes.c_uint64),
        ("memory_address", ctypes.c_uint64),
        ("memory_bytes", ctypes.c_uint64),
        ("window", ctypes.c_uint64),
        ("timeout_ms", ctypes.c_int32),
    )


class Board:
    """Files in the place of /dev/mem and of a u-dma-buf device, and what the accelerator does."""

    def __init__(self, folder: Path, design: int) -> None:
        self.design = design
        self.files = {"registers": folder / "registers", "memory": folder / "memory"}
        sizes = {"registers": 4 * PAGE, "memory": MEMORY_BYTES}
        for name, path in self.files.items():
            path.write_bytes(bytes(sizes[name]))
        self._handles = {name: path.open("r+b") for name, path in self.files.items()}
        self.registers, self.memory = (mmap.mmap(h.fileno(), 0) for h in self._handles.values())
        self.launches: list[int] = []
        self.stopped = False

    def options(self, **others: object) -> Options:
        told = {name: str(path).encode() for name, path in self.files.items()}
        fields = {"memory_address": MEMORY_ADDRESS, "memory_bytes": MEMORY_BYTES}
        rest = {"window": WINDOW, "timeout_ms": 5000}
        return Options(design=self.design, **{**told, **fields, **rest, **others})

    def read(self, offset: int) -> int:
        return struct.unpack_from("<I", self.registers, offset)[0]

    def write(self, offset: int, value: int) -> None:
        struct.pack_into("<I", self.registers, offset, value)

    def play(self) -> None:
        """Until stopped: run the instructions that a launch points to, then say so."""
        control = 0x00
        count, address, done, flag = ((0x08, 0x0C, 0x00, 2), (0x10, 0x18, 0x2018, 1))[
            self.design == 0
        ]
        while not self.stopped:
            if self.read(control) & 1:
                self.write(done, 0)
                self.write(control, 0)
                self._run(self.read(address), self.read(count))
                self.write(done, flag)
            time.sleep(0.0005)

    def _run(self, address: int, count: int) -> None:
        self.launches.append(address)
        start = MEMORY_ADDRESS + WINDOW
        seen = np.zeros(start - 0x1000 + MEMORY_BYTES, "uint8")
        seen[start - 0x1000 :] = np.frombuffer(self.memory, "uint8")
        code = seen[address - 0x1000 :][: 16 * count].tobytes()
        functional.run(DEFAULT, decode(DEFAULT, code), seen)
        self.memory[:] = seen[start - 0x1000 :].tobytes()


@contextmanager
def board(folder: Path, design: int = 0) -> Iterator[Board]:
    """A board whose accelerator a thread plays."""
    found = Board(folder, design)
    thread = threading.Thread(target=found.play, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        found.stopped = True
        thread.join()
