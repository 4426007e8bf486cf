"""Measured networks, kept in the folder of records: one self-contained line each.

They lie beside the records of kernels, in a file that is not read as such. A line holds for the
same model, target, device, processor, threads and versions, and for the same records of kernels:
after more tuning the networks have other kernels, and are measured again.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from qcompile.errors import OutputError
from qcompile.files import make_folder
from qcompile.records import canonical
from qcompile.records.writing import append_line
from qcompile.search.latency.building import Asked
from qcompile.search.latency.measured import Measured

FILE = "networks.ndjson"
FORMAT = 1


class Kept:
    """What was measured under the same circumstances; `folder` None keeps it in memory alone."""

    def __init__(self, folder: Path | None, circumstances: Mapping[str, Any]) -> None:
        """Raises OutputError where the folder cannot be read."""
        self.path = None if folder is None else folder / FILE
        self.circumstances = json.loads(canonical(circumstances))
        self._found: dict[str, dict[str, Any]] = {}
        if folder is not None:
            make_folder(folder)
            self._read()

    def find(self, asked: Asked) -> tuple[Measured, dict[str, tuple[str, ...]]] | None:
        """The measured network and the possible kernels of its layers."""
        held = self._found.get(_key(asked))
        if held is None:
            return None
        possible = {name: tuple(each) for name, each in held["possible"].items()}
        return Measured.from_json(held["measured"]), possible

    def keep(
        self, asked: Asked, measured: Measured, possible: Mapping[str, tuple[str, ...]]
    ) -> None:
        """Raises OutputError when it cannot be written."""
        held = {
            "format": FORMAT,
            "key": _key(asked),
            "circumstances": self.circumstances,
            "measured": measured.to_json(),
            "possible": {name: list(each) for name, each in possible.items()},
            "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        self._found[held["key"]] = held
        if self.path is not None:
            try:
                append_line(self.path, json.dumps(held, allow_nan=False).encode() + b"\n")
            except OSError as error:
                raise OutputError(f"{self.path}: cannot be written: {error.strerror}") from error

    def _read(self) -> None:
        assert self.path is not None
        try:
            lines = self.path.read_bytes().splitlines() if self.path.exists() else []
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be read: {error.strerror}") from error
        for line in lines:
            held = _sound(line)
            if held is not None and held["circumstances"] == self.circumstances:
                self._found[held["key"]] = held


def _sound(line: bytes) -> dict[str, Any] | None:
    """What a line holds; None where it was cut, or is of another version."""
    try:
        held = json.loads(line)
        if held["format"] != FORMAT:
            return None
        Measured.from_json(held["measured"])
        names = ("key", "circumstances", "measured", "possible")
        return {name: held[name] for name in names}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _key(asked: Asked) -> str:
    widths = {name: [each.weights, each.activations] for name, each in asked.widths.items()}
    text = canonical({"widths": widths, "kernels": dict(asked.kernels)})
    return hashlib.sha256(text.encode()).hexdigest()[:32]
