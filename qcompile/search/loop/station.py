"""One device: networks are compiled for it and measured there, and its latency model learns."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qcompile.compiler import compile_model
from qcompile.passes.choose_kernels import kernel_name
from qcompile.scales import usual_scales
from qcompile.search.latency import LatencyLaboratory, LatencyModel, Measured
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
    """Use it in a `with` block of its laboratory: `close` removes what it built."""

    def __init__(
        self, material: Material, where: Where, store: Store, say: Callable[[str], None]
    ) -> None:
        self.material = material
        self.where = where
        self.store = store
        self.scales = usual_scales(where.target)
        self.bundles: dict[str, Path] = {}
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

    def _kept(self, name: str, bits: Assignment | None, file: Path) -> Measured:
        key = f"times/{self.where.folder}/{name}"
        held = self.store.read(key)
        if held is not None:
            found = Measured.from_json(held)
        else:
            chosen = {} if bits is None else self.model.with_kernels(bits)
            found = self._laboratory.measure(chosen, self.bundle(name, chosen, file))
            self.store.write(key, found.to_json())
        if bits is not None:
            self._model = self.model.correct(found)
        return found

    def bundle(self, name: str, chosen: Any, file: Path) -> Path:
        """The network compiled, once in a search."""
        folder = self.store.path(f"bundles/{self.where.folder}/{name}")
        if not (folder / "manifest.json").is_file():
            kernels = {layer: kernel_name(choice.kernel) for layer, choice in chosen.items()}
            if isinstance(self.where.target, VtaTarget):
                kernels = {}
            compile_model(
                file,
                self.where.target,
                output=folder,
                name="network",
                records=self.material.request.records,
                kernels={n: k for n, k in kernels.items() if k in CHOOSABLE},
            )
        self.bundles[name] = folder
        return folder

    def narrow(self) -> tuple[str, ...]:
        return ()

    def resources(self) -> Any:
        return None

    def close(self) -> None:
        self._laboratory.close()
