"""What a search leaves: pareto.json, and the best network with its bundle."""

import json
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qcompile.files import make_folder, write_whole
from qcompile.search.loop.ledger import Ledger
from qcompile.search.loop.material import Material
from qcompile.search.loop.points import FLOAT, Point, bits_to_json
from qcompile.search.loop.request import Where
from qcompile.search.loop.rounds import Round

FORMAT = 1


@dataclass(frozen=True)
class DeviceResult:
    """What a search found for one device.

    narrow: what fewer than 8 bits bring there, in words, by layer; best: None where no point keeps
    what was asked for.
    """

    where: Where
    scales: str
    rounds: tuple[Round, ...]
    front: tuple[Point, ...]
    best: Point | None
    narrow: tuple[str, ...]
    resources: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class SearchResult:
    """A search: its points, what each device makes of them, and where it was written."""

    material: Material
    ledger: Ledger
    devices: tuple[DeviceResult, ...]
    serving_all: Point | None
    output: Path
    seconds: float

    @property
    def points(self) -> list[Point]:
        return self.ledger.points()

    @property
    def float_accuracy(self) -> float:
        return self.ledger.workshop.float_accuracy()


def to_json(found: SearchResult) -> dict[str, Any]:
    """The content of pareto.json."""
    request = found.material.request
    return {
        "format": FORMAT,
        "model": str(request.model),
        "samples": found.material.labelled.count,
        "float_accuracy": found.float_accuracy,
        "budgets": {
            "ms": None if request.budget_s is None else 1e3 * request.budget_s,
            "bytes": request.budget_bytes,
            "max_drop": request.drop,
        },
        "points": [_point(found, point) for point in found.points],
        "front": {each.where.name: [p.name for p in each.front] for each in found.devices},
        "best": {each.where.name: each.best and each.best.name for each in found.devices},
        "serves_all": found.serving_all and found.serving_all.name,
        "baselines": [p.name for p in found.points if p.kind in (FLOAT, "uniform")],
        "devices": {each.where.name: _device(each) for each in found.devices},
    }


def write_results(found: SearchResult) -> None:
    """Write pareto.json and the bits of every point. Raises OutputError."""
    for point in found.points:
        if point.bits is not None:
            _write(_bits_file(found, point), {"layers": bits_to_json(point.bits)})
    _write(found.output / "pareto.json", to_json(found))


def keep_best(found: SearchResult, each: DeviceResult, point: Point, bundle: Path) -> None:
    """Write best/: model.onnx, bits.json and the bundle; in a folder for each device where there
    are several. Raises OutputError."""
    folder = found.output / "best"
    if len(found.devices) > 1:
        folder /= each.where.folder
    keep_model(found, point, folder)
    shutil.rmtree(folder / "bundle", ignore_errors=True)
    shutil.copytree(bundle, folder / "bundle")


def keep_model(found: SearchResult, point: Point, folder: Path) -> None:
    """Write the point's model.onnx and bits.json. Raises OutputError."""
    make_folder(folder)
    if point.bits is not None:
        _write(folder / "bits.json", {"layers": bits_to_json(point.bits)})
    write_whole(folder / "model.onnx", found.ledger.model(point).read_bytes())


def commands(found: SearchResult, point: Point, each: DeviceResult) -> list[str]:
    """The command that makes the point's bundle for a device again."""
    request = found.material.request
    bundle = ["--target", each.where.target.name, "-o", f"build-{point.name}"]
    if each.scales != "exact":
        bundle += ["--scales", each.scales]
    if request.records is not None:
        bundle += ["--records", str(request.records)]
    if point.bits is None:
        return [shlex.join(["qcompile", "compile", str(request.model), *bundle])]
    if point.kind == "fine-tuned":
        return [shlex.join(["qcompile", "compile", str(found.ledger.model(point)), *bundle])]
    bits = ["--bits", str(_bits_file(found, point)), "--calibration", str(calibration_file(found))]
    return [shlex.join(["qcompile", "compile", str(request.model), *bundle, *bits])]


def calibration_file(found: SearchResult) -> Path:
    """Where the calibration inputs are."""
    return found.material.request.calibration or found.output / "calibration.npz"


def _point(found: SearchResult, point: Point) -> dict[str, Any]:
    again = {each.where.name: commands(found, point, each) for each in found.devices}
    return point.to_json() | {"reproduce": again}


def _device(each: DeviceResult) -> dict[str, Any]:
    return {
        "target": each.where.target.name,
        "device": each.where.device,
        "times": each.where.kind,
        "scales": each.scales,
        "rounds": [one.to_json() for one in each.rounds],
        "narrow": list(each.narrow),
        "resources": each.resources,
    }


def _bits_file(found: SearchResult, point: Point) -> Path:
    return found.output / "points" / f"{point.name}.json"


def _write(path: Path, content: Any) -> None:
    make_folder(path.parent)
    write_whole(path, (json.dumps(content, indent=2) + "\n").encode())
