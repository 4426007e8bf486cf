"""The folder of a search: what is done is kept there, so that a killed search goes on."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qcompile import __version__
from qcompile.arrays import Array
from qcompile.errors import OutputError
from qcompile.files import make_folder, write_whole
from qcompile.search.loop.material import Material

SETTINGS = "settings.json"


class Store:
    """Facts by name, as files below `folder`, each whole or absent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, name: str) -> Any:
        """What was written under this name; None when nothing was."""
        try:
            return json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise OutputError(
                f"{self.folder / name}.json: damaged: {error}; delete it, and it is made again"
            ) from error

    def write(self, name: str, content: Any) -> None:
        path = self.folder / f"{name}.json"
        make_folder(path.parent)
        write_whole(path, (json.dumps(content, indent=1) + "\n").encode())

    def path(self, name: str) -> Path:
        """A place for a file or a folder of that name."""
        make_folder((self.folder / name).parent)
        return self.folder / name


def open_store(material: Material) -> Store:
    """The folder `work` of the search's output, new or of the same search.

    Raises OutputError when it is another search's.
    """
    request = material.request
    make_folder(request.output)
    store = Store(request.output / "work")
    wanted = _settings(material)
    found = store.read(SETTINGS.removesuffix(".json"))
    if found is None:
        if any(request.output.iterdir()) and not store.folder.is_dir():
            raise OutputError(f"{request.output}: holds other files; name a new folder")
        store.write(SETTINGS.removesuffix(".json"), wanted)
    elif found != wanted:
        other = [name for name in wanted if found.get(name) != wanted[name]]
        raise OutputError(
            f"{request.output}: holds a search that was given other values of "
            f"{', '.join(other)}; name a new folder, or give the same, and it goes on"
        )
    return store


def _settings(material: Material) -> dict[str, Any]:
    """What results of a search depend on; devices, budgets and seeds may change."""
    labels = {"labels": material.labels}
    return {
        "version": __version__,
        "model": hashlib.sha256(material.request.model.read_bytes()).hexdigest(),
        "data": _digest({**material.labelled.inputs, **labels}),
        "calibration": _digest(material.calibration),
        "bits": list(material.request.bits),
    }


def _digest(arrays: Mapping[str, Array]) -> str:
    found = hashlib.sha256()
    for name in sorted(arrays):
        found.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        found.update(arrays[name].tobytes())
    return found.hexdigest()
