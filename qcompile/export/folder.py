"""A bundle's folder: written beside its place and renamed, so that it is whole or absent."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qcompile.errors import BundleError


@contextmanager
def whole_folder(output: Path) -> Iterator[Path]:
    """A new folder that becomes `output` when the block ends, and is gone when it fails.

    Replaces a bundle or an empty folder. Raises BundleError when anything else is at `output`, or
    when nothing can be written there.
    """
    output = output.resolve()
    _expect_replaceable(output)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as beside:
            new, old = Path(beside) / "new", Path(beside) / "old"
            new.mkdir()
            yield new
            _expect_replaceable(output)
            if output.exists():
                output.rename(old)
            new.rename(output)
    except OSError as error:
        raise BundleError(f"{output}: cannot be written: {error.strerror or error}") from error


def is_bundle(folder: Path) -> bool:
    """Whether a bundle was written there."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and {"format", "name", "target"} <= set(manifest)


def _expect_replaceable(output: Path) -> None:
    if output.is_dir() and not is_bundle(output) and any(output.iterdir()):
        raise BundleError(f"{output}: holds other files than a bundle; choose a new folder")
    if output.exists() and not output.is_dir():
        raise BundleError(f"{output}: is a file; choose a new folder")
