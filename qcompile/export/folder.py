"""A bundle's folder: written beside its place and renamed, so that it is whole or absent."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qcompile.errors import BundleError


@contextmanager
def whole_folder(output: Path) -> Iterator[Path]:
    """A new folder that becomes `output` when the block ends, and is gone when it fails.

    Replaces a bundle or an empty folder; raises BundleError for anything else at `output`.
    """
    _expect_replaceable(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}."))
    try:
        yield beside
        umask = os.umask(0)
        os.umask(umask)
        beside.chmod(0o777 & ~umask)
        _expect_replaceable(output)
        _replace(beside, output)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


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
    if output.is_symlink() or (output.exists() and not output.is_dir()):
        raise BundleError(f"{output}: is a file or a link; choose a new folder")


def _replace(beside: Path, output: Path) -> None:
    """Rename `beside` to `output`; the folder that was there goes afterwards."""
    if not output.exists():
        beside.rename(output)
        return
    old = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}."))
    try:
        output.rename(old)
        beside.rename(output)
    finally:
        shutil.rmtree(old, ignore_errors=True)
