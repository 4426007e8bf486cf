"""What a bundle says of itself."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qcompile import bundle
from qcompile.arrays import TensorSpec
from qcompile.errors import BundleError
from qcompile.files import expect_regular


@dataclass(frozen=True)
class Variant:
    """One of the networks of a bundle that has several; bytes of weights in a bundle alone."""

    name: str
    entry: str
    layers: int
    workspace_bytes: int
    weight_bytes_alone: int

    @staticmethod
    def read(fields: dict[str, Any]) -> "Variant":
        return Variant(
            name=str(fields["name"]),
            entry=str(fields["entry"]),
            layers=len(fields["layers"]),
            workspace_bytes=int(fields["workspace_bytes"]),
            weight_bytes_alone=int(fields["weight_bytes_alone"]),
        )


@dataclass(frozen=True)
class Manifest:
    """The fields of manifest.json that commands read; `variant` None is the first network."""

    folder: Path
    name: str
    variant: str | None
    target: str
    architecture: str | None  # None: not told, as in bundles of older versions
    mcpu: str | None
    threads: int
    features: tuple[str, ...]
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    layers: list[dict[str, Any]]
    float_ops: list[dict[str, Any]]
    workspace_bytes: int
    weight_bytes: int
    variants: list[Variant]
    vta: dict[str, Any] | None = None  # of networks that VTA computes a part of

    @property
    def library_bytes(self) -> int:
        return (self.folder / "lib" / f"lib{self.name}.so").stat().st_size


def read_manifest(folder: str | Path, variant: str | None = None) -> Manifest:
    """The manifest of the bundle in `folder`, as it is of one of its networks.

    Raises BundleError when it is no bundle, InvalidInput when it has no such variant.
    """
    folder = Path(folder)
    whole = bundle.read_manifest(folder)
    try:
        fields = bundle.facts_of(whole, variant)
        return Manifest(
            folder=folder,
            name=str(whole["name"]),
            variant=variant,
            target=str(whole["target"]),
            architecture=str(whole["architecture"]) if "architecture" in whole else None,
            mcpu=str(whole["mcpu"]) if "mcpu" in whole else None,
            threads=int(whole["threads"]),
            features=tuple(whole["features"]),
            inputs=TensorSpec.read(fields["inputs"]),
            outputs=TensorSpec.read(fields["outputs"]),
            layers=[dict(layer) for layer in fields["layers"]],
            float_ops=[dict(operator) for operator in fields["float_ops"]],
            workspace_bytes=int(fields["workspace_bytes"]),
            weight_bytes=int(whole["weight_bytes"]),
            variants=[Variant.read(each) for each in whole.get("variants", [])],
            vta=dict(whole["vta"]) if "vta" in whole else None,
        )
    except (ValueError, KeyError, TypeError) as error:
        kind = type(error).__name__
        raise BundleError(f"{folder}: manifest.json is damaged: {kind}: {error}") from error


@dataclass(frozen=True)
class TunedKernels:
    """How many kernels of a bundle, all its networks together, are tuned, by which records.

    tuned: of `kernels` that could be; modelled, shipped: of these, by a model's times, and by
    records that ship. unknown_decisions: kernels whose records this version does not understand.
    other_threads: kernels whose records are of another number than `threads`, the bundle's.
    records: the user's folder; skipped: what of it was not read, in words.
    """

    kernels: int
    tuned: int
    modelled: int
    shipped: int
    unknown_decisions: int
    threads: int
    other_threads: int
    records: str | None
    skipped: str


def tuned_kernels(folder: Path) -> TunedKernels:
    """What the bundle's report says of tuning. Raises BundleError."""
    path = folder / "report.json"
    try:
        expect_regular(path)
        report = json.loads(path.read_text(encoding="utf-8"))
        networks = [each["tuning"] for each in (report, *report.get("variants", {}).values())]

        def total(name: str) -> int:
            return sum(int(network[name]) for network in networks)

        return TunedKernels(
            kernels=total("kernels"),
            tuned=total("tuned"),
            modelled=total("modelled"),
            shipped=total("shipped"),
            unknown_decisions=total("unknown_decisions"),
            threads=networks[0]["threads"],
            other_threads=total("other_threads"),
            records=networks[0]["records"],
            skipped=str(networks[0]["skipped"]),
        )
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path}: damaged: {type(error).__name__}: {error}") from error


def predicted_seconds(folder: Path) -> dict[str, float]:
    """What the bundle's report predicts of its layers, by name. Raises BundleError."""
    path = folder / "report.json"
    try:
        expect_regular(path)
        layers = json.loads(path.read_text(encoding="utf-8"))["layers"]
        chosen = {str(layer["name"]): layer["choices"][0] for layer in layers if layer["choices"]}
        times = {name: choice["predicted_us"] for name, choice in chosen.items()}
        return {name: 1e-6 * float(time) for name, time in times.items() if time is not None}
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path}: damaged: {type(error).__name__}: {error}") from error
