"""Results by key, in a file to which each is added at once: a search that was killed goes on."""

import hashlib
import json
from pathlib import Path
from typing import Any

from qcompile.errors import OutputError


class Store:
    """Lines of JSON; without a path, results are forgotten in the end."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._known: dict[str, Any] = _read(path) if path is not None else {}

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def __getitem__(self, key: str) -> Any:
        return self._known[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._known[key] = value
        if self._path is None:
            return
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"key": key, "value": value}) + "\n")
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be written: {error.strerror}") from error


def key_of(*parts: Any) -> str:
    """The same for equal parts: JSON's values, and bytes."""
    digest = hashlib.sha256()
    for part in parts:
        content = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode()
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()


def _read(path: Path) -> dict[str, Any]:
    """What the file holds, without a line that a kill cut off; that line is ended, too."""
    if not path.exists():
        return {}
    content = path.read_bytes()
    found: dict[str, Any] = {}
    for line in content.splitlines():
        try:
            entry = json.loads(line)
            found[entry["key"]] = entry["value"]
        except (ValueError, KeyError, TypeError):
            continue
    if content and not content.endswith(b"\n"):
        with path.open("ab") as file:
            file.write(b"\n")
    return found
