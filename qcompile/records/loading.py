"""Sound records of files, with counts of what else they hold."""

import hashlib
from pathlib import Path

from qcompile.errors import InvalidRecord, OtherFormat
from qcompile.files import expect_regular
from qcompile.records.collection import Records
from qcompile.records.reader import LONGEST, Reader
from qcompile.records.record import START, Record
from qcompile.records.skipped import EXAMPLES, Skipped

DIGEST_BYTES = 16
TOO_LONG = f"longer than {LONGEST} bytes"


class Loader:
    """Reads files, and later what was appended to them. `schedules`: whose records count."""

    def __init__(self, schedules: int) -> None:
        self.records = Records()
        self._schedules = schedules
        self._readers: dict[Path, Reader] = {}
        self._seen: set[bytes] = set()
        self._corrupted: list[str] = []
        self._corrupted_count = self._other_version = self._repeated = self._empty = 0

    def stale(self, paths: list[Path]) -> bool:
        """Whether files that were read are gone, or not what they were."""
        return any(path not in paths or reader.replaced() for path, reader in self._readers.items())

    def read(self, paths: list[Path]) -> Skipped:
        """Add what is new in the files."""
        unfinished, unreadable = [], []
        for path in paths:
            reader = self._readers.setdefault(path, Reader(path))
            try:
                expect_regular(path)
                for number, line in reader.new_lines():
                    self._take(f"{path}:{number}", line)
            except OSError as error:
                unreadable.append(f"{path}: {error.strerror}")
            else:
                unfinished += self._take_rest(reader)
        return Skipped(
            corrupted=self._corrupted_count + len(unfinished),
            other_version=self._other_version,
            repeated=self._repeated,
            empty=self._empty,
            examples=tuple([*self._corrupted, *unfinished][:EXAMPLES]),
            unreadable=tuple(unreadable),
        )

    def _take_rest(self, reader: Reader) -> list[str]:
        """The line without an end, if it is whole; else what is wrong with it.

        It stays unread then: it may be one that is being written.
        """
        where = f"{reader.path}:{reader.lines + 1}"
        if reader.rest is None:
            return [f"{where}: {TOO_LONG}"]
        rest = reader.rest.strip()
        if rest and not _whole(rest):
            return [f"{where}: no end of line: cut, or being written"]
        if rest:
            self._take(where, rest)
            reader.take_rest()
        return []

    def _take(self, where: str, line: bytes | None) -> None:
        if line is None:
            self._corrupt(where, TOO_LONG)
        elif content := line.strip():
            try:
                self._add(content)
            except InvalidRecord as error:
                if not self._add_pieces(content):
                    self._corrupt(where, str(error))
        else:
            self._empty += 1

    def _add(self, content: bytes) -> None:
        """Count the record, once. Raises InvalidRecord."""
        digest = hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()
        if digest in self._seen:
            self._repeated += 1
            return
        try:
            record = Record.from_line(content)
        except OtherFormat:
            self._other_version += 1
            return
        if record.versions.schedules != self._schedules:
            self._other_version += 1
            return
        self._seen.add(digest)
        self.records.add(record)

    def _add_pieces(self, content: bytes) -> bool:
        """Add the sound records of a line that several became; whether it holds nothing else."""
        sound = True
        for piece in _pieces(content):
            try:
                self._add(piece)
            except InvalidRecord:
                sound = False
        return sound

    def _corrupt(self, where: str, error: str) -> None:
        self._corrupted_count += 1
        if len(self._corrupted) < EXAMPLES:
            self._corrupted.append(f"{where}: {error}")


def _pieces(content: bytes) -> list[bytes]:
    """What a line is made of: files whose last line has no end run into what is appended."""
    first, *others = content.split(START)
    return [first] * bool(first) + [START + other for other in others]


def _whole(content: bytes) -> bool:
    """Whether a line that may be unfinished ends with a record, of whatever version."""
    try:
        Record.from_line(_pieces(content)[-1])
    except OtherFormat:
        return True
    except InvalidRecord:
        return False
    return True
