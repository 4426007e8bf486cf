"""One device: networks are compiled for it and measured there, and its latency model learns."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qcompile.arrays import Array
from qcompile.compiler import compile_model
from qcompile.devices import LOCAL
from qcompile.scales import usual_scales
from qcompile.search.latency import (
    Choice,
    LatencyLaboratory,
    LatencyModel,
    LayerSpeed,
    Measured,
    SolverCosts,
    kernels_of,
    numbers_matter,
    solver_costs,
    speeds,
)
from qcompile.search.loop.material import Assignment, Material
from qcompile.search.loop.request import Where
from qcompile.search.loop.store import Store
from qcompile.search.loop.watcher import Watcher
from qcompile.targets import VtaTarget
from qcompile.targets.vta.resources import device, resources

QUICK_SAMPLES = 16  # of the calibration, where times do not depend on numbers


@dataclass(frozen=True)
class Taken:
    """Seconds of one inference; spread: of repeated measurements, as a share of them."""

    seconds: float
    spread: float


class Station:
    """A device with its laboratory; `close` it."""

    def __init__(self, material: Material, where: Where, store: Store, watcher: Watcher) -> None:
        self.material = material
        self.where = where
        self.store = store
        self.scales = usual_scales(where.target)
        records = material.request.records
        self._laboratory = LatencyLaboratory(
            material.request.model,
            material.choices,
            where.target,
            _samples(material, where),
            device=where.device,
            records=records if records is not None else store.path(f"records/{where.folder}"),
            seed=material.request.seed,
            progress=lambda stage, done=0, total=0: watcher.step(
                f"{where.name}: {stage}", done, total
            ),
        )
        self._model: LatencyModel | None = None

    @property
    def model(self) -> LatencyModel:
        """What is known of latencies here; the first time it is asked for, it is measured."""
        if self._model is None:
            self._model = self._laboratory.survey()
        return self._model

    def costs(self) -> SolverCosts:
        return solver_costs(self.model)

    def predict(self, bits: Assignment) -> float:
        """The seconds of an assignment with the kernels that suit it best."""
        return self.model.predict(self.model.with_kernels(bits))

    def measure(self, name: str, bits: Assignment | None, file: Path) -> Taken:
        """The network in `file`, compiled for this device and measured there, once.

        bits: None for a float network. The latency model learns from all others.
        """
        known = self._kept(name, bits, file)
        return Taken(known.seconds, known.spread_s / known.seconds)

    def bundle(self, name: str, bits: Assignment | None, file: Path) -> Path:
        """The network in `file` compiled for this device, once in a search."""
        chosen = {} if bits is None else self.model.with_kernels(bits)
        return self._compiled(name, chosen, file)

    def _kept(self, name: str, bits: Assignment | None, file: Path) -> Measured:
        key = f"times/{self.where.folder}/{name}"
        held = self.store.read(key)
        if held is not None:
            found = Measured.from_json(held)
        else:
            chosen = {} if bits is None else self.model.with_kernels(bits)
            found = self._laboratory.measure(chosen, self._compiled(name, chosen, file))
            self.store.write(key, found.to_json())
        if bits is not None:
            self._model = self.model.correct(found)
        return found

    def _compiled(self, name: str, chosen: Mapping[str, Choice], file: Path) -> Path:
        folder = self.store.path(f"bundles/{self.where.folder}/{name}")
        if not (folder / "manifest.json").is_file():
            compile_model(
                file,
                self.where.target,
                output=folder,
                name="network",
                records=self.material.request.records,
                kernels=kernels_of(chosen, self.where.target),
            )
        return folder

    def runs_here(self, name: str) -> Path | None:
        """The bundle of that name where this machine is the device, so that it need not be made
        again."""
        folder = self.store.path(f"bundles/{self.where.folder}/{name}")
        made = (folder / "manifest.json").is_file()
        return folder if made and self.where.device == LOCAL else None

    def narrow(self) -> tuple[str, ...]:
        """What fewer than 8 bits bring here, in words with figures."""
        found = speeds(self.model)
        faster = [each for each in found if each.faster]
        others = [each for each in found if not each.faster]
        if not faster:
            return (
                f"No layer is faster with fewer than 8 bits on {self.where.name}: 8 bits are the "
                f"choice there, and fewer save memory alone. {_told(others)}.",
            )
        lines = [f"Fewer than 8 bits are faster for {_told(faster)}."]
        return (*lines, f"They bring no speed for {_told(others)}.") if others else tuple(lines)

    def resources(self) -> dict[str, Any] | None:
        """What the accelerator takes of the board's FPGA; None for processors."""
        target = self.where.target
        if not isinstance(target, VtaTarget):
            return None
        found = resources(target.config, target.port_bytes, device(target.part))
        return {"part": target.part, **asdict(found)}

    def close(self) -> None:
        """Remove what was built; times and models stay."""
        self._laboratory.close()
        shutil.rmtree(self.store.path(f"bundles/{self.where.folder}"), ignore_errors=True)


def _samples(material: Material, where: Where) -> dict[str, Array]:
    count = None if numbers_matter(where.target) else QUICK_SAMPLES
    return {name: array[:count] for name, array in material.calibration.items()}


def _told(found: Sequence[LayerSpeed]) -> str:
    """Each layer with its fastest narrower choice, and how much less or more time that takes."""
    return ", ".join(
        f"{each.layer} ({each.narrower}: {100 * abs(each.gain):.0f} % "
        f"{'less' if each.gain > 0 else 'more'})"
        for each in found
    )
