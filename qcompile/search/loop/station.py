"""One device: networks are compiled for it and measured there, and its latency model learns."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qcompile.compiler import compile_model
from qcompile.devices import LOCAL
from qcompile.passes.choose_kernels import kernel_name
from qcompile.scales import usual_scales
from qcompile.search.latency import Choice, LatencyLaboratory, LatencyModel, Measured
from qcompile.search.latency.building import CHOOSABLE
from qcompile.search.loop.material import Assignment, Material
from qcompile.search.loop.request import Where
from qcompile.search.loop.store import Store
from qcompile.search.loop.sweep import Costs
from qcompile.targets import VtaTarget

QUICK_SAMPLES = 16  # of the calibration: times do not depend on values


@dataclass(frozen=True)
class Taken:
    """Seconds of one inference; spread: of repeated measurements, as a share of them."""

    seconds: float
    spread: float


class Station:
    """A device with its laboratory; `close` it."""

    def __init__(
        self, material: Material, where: Where, store: Store, say: Callable[[str], None]
    ) -> None:
        self.material = material
        self.where = where
        self.store = store
        self.scales = usual_scales(where.target)
        records = material.request.records
        self._laboratory = LatencyLaboratory(
            material.request.model,
            material.choices,
            where.target,
            {name: array[:QUICK_SAMPLES] for name, array in material.calibration.items()},
            device=where.device,
            records=records if records is not None else store.path(f"records/{where.folder}"),
            seed=material.request.seed,
            progress=lambda stage, done=0, total=0: say(f"{where.name}: {stage} {done}/{total}"),
        )
        self._model: LatencyModel | None = None

    @property
    def model(self) -> LatencyModel:
        """What is known of latencies here; the first time it is asked for, it is measured."""
        if self._model is None:
            self._model = self._laboratory.survey()
        return self._model

    def costs(self) -> Costs:
        model = self.model
        return Costs(
            model.fitted.base_s,
            {name: model.costs(name) for name in model.neighbours.layers},
            {edge: model.handovers(*edge) for edge in model.neighbours.edges},
        )

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
                kernels=self._kernels(chosen),
            )
        return folder

    def _kernels(self, chosen: Mapping[str, Choice]) -> dict[str, str]:
        """What `compile_model` lets be chosen; boards with VTA choose themselves."""
        if isinstance(self.where.target, VtaTarget):
            return {}
        named = {layer: kernel_name(choice.kernel) for layer, choice in chosen.items()}
        return {layer: kernel for layer, kernel in named.items() if kernel in CHOOSABLE}

    def runs_here(self, name: str) -> Path | None:
        """The bundle of that name where this machine is the device, so that it need not be made
        again."""
        folder = self.store.path(f"bundles/{self.where.folder}/{name}")
        made = (folder / "manifest.json").is_file()
        return folder if made and self.where.device == LOCAL else None

    def narrow(self) -> tuple[str, ...]:
        return ()

    def resources(self) -> Any:
        return None

    def close(self) -> None:
        """Remove what was built; times and models stay."""
        self._laboratory.close()
        shutil.rmtree(self.store.path(f"bundles/{self.where.folder}"), ignore_errors=True)
