"""Whole lines of a file that others append to, each once."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qcompile.files import expect_regular

LONGEST = 2**20  # bytes of a line; a record has about one thousand


@dataclass
class Reader:
    """How far a file has been read: `offset` bytes, `lines` lines, of which `before` is the last.

    It tells whether the file is still the one that was read. `rest` is what follows the last end
    of a line: being written, or cut; None when too long.
    """

    path: Path
    identity: tuple[int, int] | None = None
    offset: int = 0
    lines: int = 0
    before: bytes = b""
    rest: bytes | None = b""

    def replaced(self) -> bool:
        """Whether the file does not hold any more what was read of it."""
        if self.identity is None:
            return False
        try:
            expect_regular(self.path)
            with self.path.open("rb") as file:
                file.seek(self.offset - len(self.before))
                kept = file.read(len(self.before)) == self.before
                return not kept or self.identity != _identity(file.fileno())
        except OSError:
            return True

    def new_lines(self) -> Iterator[tuple[int, bytes | None]]:
        """Lines that were not there before, with their numbers; None for one that is too long."""
        with self.path.open("rb") as file:
            self.identity = _identity(file.fileno())
            file.seek(self.offset)
            self.rest = b""
            while piece := file.readline(LONGEST):
                line: bytes | None = piece
                length = len(piece)
                while not piece.endswith(b"\n") and (piece := file.readline(LONGEST)):
                    line, length = None, length + len(piece)
                if not piece:
                    self.rest = line
                    return
                self._advance(length, piece)
                self.lines += 1
                yield self.lines, line

    def take_rest(self) -> None:
        """The rest was a whole line; its end, which is still to come, counts it."""
        if self.rest:
            self._advance(len(self.rest), self.rest)
        self.rest = b""

    def _advance(self, length: int, last: bytes) -> None:
        self.offset += length
        self.before = last


def _identity(handle: int) -> tuple[int, int]:
    status = os.fstat(handle)
    return status.st_dev, status.st_ino
