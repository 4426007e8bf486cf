"""What a bundle says of itself."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qcompile import bundle
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
    fields = bundle.read_manifest(folder)
    try:
        return Manifest(
            folder=folder,
            name=str(fields["name"]),
            target=str(fields["target"]),
            threads=int(fields["threads"]),
            features=tuple(fields["features"]),
            inputs=TensorSpec.read(fields["inputs"]),
            outputs=TensorSpec.read(fields["outputs"]),
            layers=[dict(layer) for layer in fields["layers"]],
            float_ops=[dict(operator) for operator in fields["float_ops"]],
            workspace_bytes=int(fields["workspace_bytes"]),
            weight_bytes=int(fields["weight_bytes"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        kind = type(error).__name__
        raise BundleError(f"{folder}: manifest.json is damaged: {kind}: {error}") from error
