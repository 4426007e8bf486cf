"""Files that are whole or absent, and places that are no files at all."""

import errno
import os
import tempfile
from pathlib import Path

from qcompile.errors import OutputError


def cache_root() -> Path:
    """Where the user's programs keep what they can make again, by the XDG rule."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "qcompile"


def expect_regular(path: str | Path) -> None:
    """Raise OSError unless `path` is a regular file: devices and pipes may never end."""
    if not Path(path).is_file():
        os.stat(path)  # says what is wrong when there is nothing
        raise OSError(errno.EINVAL, "not a regular file", str(path))


def expect_writable(path: str | Path) -> None:
    """Raise OutputError when no file can be written at `path`: before long work, not after it."""
    path = Path(path)
    try:
        if path.is_dir():
            raise OutputError(f"{path}: is a folder; name a file")
        if path.exists() and not path.is_file():
            return
        beside = path.resolve().parent
        if not beside.is_dir():
            raise OutputError(f"{path}: there is no folder {beside}")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
    if not os.access(beside, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: the folder {beside} cannot be written to")


def make_folder(path: str | Path) -> None:
    """The folder `path`, new or as it was. Raises OutputError when there cannot be one."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise OutputError(f"{path}: is a file, or lies below one; name a folder") from error
    except OSError as error:
        raise OutputError(f"{path}: cannot be made: {error.strerror}") from error


def expect_empty_folder(path: str | Path) -> None:
    """The folder `path`, new or empty as it was. Raises OutputError when it holds anything."""
    make_folder(path)
    if any(Path(path).iterdir()):
        raise OutputError(f"{path}: is not empty; name a new folder")


def write_whole(path: str | Path, content: bytes) -> None:
    """Write `content` beside `path`, then rename it: nobody sees half a file.

    Symbolic links are followed; devices and pipes are written to as they are. Raises OutputError.
    """
    expect_writable(path)
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)
        else:
            _write_beside(path.resolve(), content)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error


def _write_beside(path: Path, content: bytes) -> None:
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=".qcompile.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(beside, 0o666 & ~umask)
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise
