"""A folder of files of records: appended to line by line, read as far as it is sound.

A line is written by one call under a lock, and synced: a writer that is killed loses at most the
line that it was writing, and lines of several writers do not mix. Files copied into the folder, or
appended to its files, are read with them; the same line twice counts once.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from qcompile.errors import InvalidRecord, OutputError
from qcompile.files import make_folder
from qcompile.records.collection import Records
from qcompile.records.loading import Loader
from qcompile.records.record import Record
from qcompile.records.skipped import Skipped
from qcompile.records.writing import append_line, open_to_append

FILE = "records.jsonl"  # that is appended to


@dataclass(frozen=True)
class Contents:
    """What a database holds. `records` may grow when the same Database is loaded again."""

    records: Records
    skipped: Skipped


class Database:
    """The folder of records; `schedules` is the version of schedules whose records count."""

    def __init__(self, folder: str | Path, schedules: int) -> None:
        self.folder = Path(folder)
        self._schedules = schedules
        self._loader = Loader(schedules)

    def expect_writable(self) -> None:
        """Make the folder. Raises OutputError when nothing can be appended: before long work."""
        make_folder(self.folder)
        try:
            os.close(open_to_append(self.folder / FILE))
        except OSError as error:
            raise self._unwritable(error) from error

    def append(self, record: Record) -> None:
        """Write the record behind all others; it is on the disk when this returns.

        Raises OutputError when it cannot be written; then nothing of it is.
        """
        make_folder(self.folder)
        try:
            append_line(self.folder / FILE, record.to_line())
        except OSError as error:
            raise self._unwritable(error) from error

    def load(self) -> Contents:
        """All sound records, and what else there was; after the first time only new lines are read.

        Raises InvalidRecord when there is no such folder, never for what files in it hold.
        """
        paths = self._paths()
        if self._loader.stale(paths):
            self._loader = Loader(self._schedules)
        skipped = self._loader.read(paths)
        return Contents(self._loader.records, skipped)

    def _paths(self) -> list[Path]:
        try:
            names = sorted(os.listdir(self.folder))
        except FileNotFoundError as error:
            raise InvalidRecord(f"{self.folder}: there is no such folder of records") from error
        except NotADirectoryError as error:
            raise InvalidRecord(f"{self.folder}: is a file; name its folder") from error
        except OSError as error:
            raise InvalidRecord(f"{self.folder}: cannot be read: {error.strerror}") from error
        return [self.folder / name for name in names if name.endswith(".jsonl")]

    def _unwritable(self, error: OSError) -> OutputError:
        return OutputError(f"{self.folder / FILE}: cannot be written: {error.strerror or error}")
