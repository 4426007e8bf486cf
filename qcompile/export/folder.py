"""A bundle's folder: written beside its place and renamed, so that it is whole or absent."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qcompile.errors import BundleError
from qcompile.files import expect_regular


@contextmanager
def whole_folder(output: Path) -> Iterator[Path]:
    """A new folder that becomes `output` when the block ends, and is gone when it fails.

    Replaces a bundle or an empty folder. Raises BundleError when anything else is at `output`, or
    when nothing can be written there.
    """
    expect_replaceable(output)
    output = output.resolve()
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as beside:
            new, old = Path(beside) / "new", Path(beside) / "old"
            new.mkdir()
            yield new
            expect_replaceable(output)
            if output.exists():
                output.rename(old)
            new.rename(output)
    except OSError as error:
        raise BundleError(f"{output}: cannot be written: {error.strerror or error}") from error


def is_bundle(folder: Path) -> bool:
    """Whether a bundle was written there."""
    try:
        expect_regular(folder / "manifest.json")
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and {"format", "name", "target"} <= set(manifest)


def expect_replaceable(output: Path) -> None:
    """Raise BundleError when a bundle at `output` would replace, or lie below, something else."""
    try:
        if output.is_dir() and not is_bundle(output) and any(output.iterdir()):
            raise BundleError(f"{output}: holds other files than a bundle; choose a new folder")
        if output.exists() and not output.is_dir():
            raise BundleError(f"{output}: is a file; choose a new folder")
        above = next(folder for folder in output.absolute().parents if folder.exists())
        if not above.is_dir():
            raise BundleError(f"{output}: {above} is a file; choose another folder")
        if not os.access(above, os.W_OK | os.X_OK):
            raise BundleError(f"{output}: the folder {above} cannot be written to")
    except OSError as error:
        raise BundleError(f"{output}: cannot be written: {error.strerror or error}") from error
