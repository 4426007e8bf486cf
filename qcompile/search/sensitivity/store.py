"""Scores kept in a folder, line by line.

A line of scores.jsonl is a JSON object: `key` (a digest of the network, the data and the options),
`kind`, `layer`, and what was found. A line that a kill cut short counts for nothing.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from qcompile.errors import OutputError
from qcompile.files import make_folder
from qcompile.quantizer import Widths
from qcompile.quantizer.grid import Array
from qcompile.records.canonical import canonical
from qcompile.records.writing import append_line
from qcompile.search.sensitivity.scores import Score

FILE = "scores.jsonl"


class Store:
    """What is known; without a folder it is forgotten with the object. Raises OutputError."""

    def __init__(self, folder: str | Path | None) -> None:
        self._path = None if folder is None else Path(folder) / FILE
        self._known: dict[str, dict[str, Any]] = {}
        if self._path is not None:
            make_folder(self._path.parent)
            for line in _lines(self._path):
                self._known[_place(line)] = line

    def find(self, **place: Any) -> dict[str, Any] | None:
        """What was added under these fields."""
        return self._known.get(_place(place))

    def add(self, found: Mapping[str, float], **place: Any) -> None:
        """Keep `found`; it is on the disk when this returns."""
        line = {**place, **found}
        self._known[_place(place)] = line
        if self._path is None:
            return
        try:
            append_line(self._path, canonical(line).encode() + b"\n")
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be written: {error.strerror}") from error

    def score(self, widths: Widths, **place: Any) -> Score | None:
        """The score of a layer's widths."""
        line = self.find(**place, w=widths.weights, a=widths.activations)
        return None if line is None else Score(line["value"], line["standard_error"])

    def add_score(self, score: Score, widths: Widths, **place: Any) -> None:
        found = {"value": score.value, "standard_error": score.standard_error}
        self.add(found, **place, w=widths.weights, a=widths.activations)


def digest(texts: Iterable[bytes], arrays: Mapping[str, Array]) -> str:
    """The name of bytes and arrays together."""
    whole = hashlib.sha256()
    for text in texts:
        whole.update(len(text).to_bytes(8, "little") + text)
    for name, array in sorted(arrays.items()):
        whole.update(f"{name} {array.dtype} {array.shape}".encode())
        whole.update(array.tobytes())
    return whole.hexdigest()[:32]


FIELDS = ("key", "kind", "layer", "w", "a")


def _place(line: Mapping[str, Any]) -> str:
    return canonical({name: line[name] for name in FIELDS if name in line})


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        content = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise OutputError(f"{path}: cannot be read: {error.strerror}") from error
    found = []
    for line in content.splitlines():
        try:
            read = json.loads(line)
        except ValueError:
            continue
        if isinstance(read, dict):
            found.append(read)
    return found
