"""What a bundle says of itself."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qcompile.arrays import TensorSpec
from qcompile.errors import BundleError


@dataclass(frozen=True)
class Manifest:
    """The fields of manifest.json that commands read."""

    folder: Path
    name: str
    target: str
    threads: int
    features: tuple[str, ...]
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    layers: list[dict[str, Any]]
    float_ops: list[dict[str, Any]]
    workspace_bytes: int
    weight_bytes: int

    @property
    def library_bytes(self) -> int:
        return (self.folder / "lib" / f"lib{self.name}.so").stat().st_size


def read_manifest(folder: str | Path) -> Manifest:
    """The manifest of the bundle in `folder`. Raises BundleError when it is no bundle."""
    folder = Path(folder)
    path = folder / "manifest.json"
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return Manifest(
            folder=folder,
            name=str(fields["name"]),
            target=str(fields["target"]),
            threads=int(fields["threads"]),
            features=tuple(fields["features"]),
            inputs=TensorSpec.read(fields["inputs"]),
            outputs=TensorSpec.read(fields["outputs"]),
            layers=list(fields["layers"]),
            float_ops=list(fields["float_ops"]),
            workspace_bytes=int(fields["workspace_bytes"]),
            weight_bytes=int(fields["weight_bytes"]),
        )
    except OSError as error:
        raise BundleError(f"{folder}: no bundle: {path.name}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path}: damaged: {type(error).__name__}: {error}") from error
