"""Lines appended to a file, each by one call, under a lock, and on the disk before it returns."""

import errno
import fcntl
import os
import stat
from pathlib import Path


def append_line(path: Path, line: bytes) -> None:
    """Write `line`, its end included, behind what the file holds, or nothing of it.

    A last line that was cut stays a line of its own. Raises OSError.
    """
    handle = open_to_append(path)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":
            line = b"\n" + line
        try:
            written = os.write(handle, line)
            while written < len(line):  # a full disk: the next call says so
                written += os.write(handle, line[written:])
            os.fsync(handle)
        except OSError:
            os.ftruncate(handle, size)
            raise
    finally:
        os.close(handle)


def open_to_append(path: Path) -> int:
    """A descriptor of the file, made when missing. Raises OSError unless it is a regular file."""
    missing = not path.exists()
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    handle = os.open(path, flags, 0o666)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        if missing:
            _sync_folder(path.parent)
    except OSError:
        os.close(handle)
        raise
    return handle


def _sync_folder(folder: Path) -> None:
    """Without it a new file may be gone after a power failure, however well it was synced."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
