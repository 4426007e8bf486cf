"""Networks of chosen widths and kernels, measured on one device, each once."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from qcompile.arrays import Array
from qcompile.commands.manifest import read_manifest
from qcompile.commands.progress import Progress, silent
from qcompile.errors import InvalidInput
from qcompile.files import make_folder
from qcompile.quantizer import QuantizeOptions, Widths
from qcompile.quantizer.folding import fold
from qcompile.quantizer.network import load_network
from qcompile.search.latency.building import Asked, Workshop
from qcompile.search.latency.choice import Assignment, Choice
from qcompile.search.latency.circumstances import (
    circumstances,
    digest,
    expect_device,
    numbers_matter,
    usual_device,
)
from qcompile.search.latency.kept import Kept
from qcompile.search.latency.measured import Measured, Reading, measured
from qcompile.search.latency.meters import Clock, Meter, exact_meter
from qcompile.search.latency.model import LatencyModel
from qcompile.search.latency.neighbours import neighbours_of
from qcompile.search.latency.probes import near_best, on_other_kernels, probes, uniform
from qcompile.targets import Target, VtaTarget, load_target

Possible = Mapping[str, tuple[str, ...]]


class LatencyLaboratory:
    """Builds and measures networks; use it in a `with` block."""

    def __init__(
        self,
        model: str | Path,
        choices: Mapping[str, Sequence[Widths]],
        target: str | Target | VtaTarget,
        calibration: Mapping[str, Array],
        *,
        device: str | None = None,
        threads: int = 1,
        options: QuantizeOptions | None = None,
        records: str | Path | None = None,
        shapes: Mapping[str, Sequence[int]] | None = None,
        seed: int = 0,
        progress: Progress = silent,
    ) -> None:
        """device: of `open_device`, or "model:TARGET"; by default this machine, or the simulator
        for a board with VTA. calibration: a few samples; where `numbers_matter`, all that the
        network is quantized by. records: the folder of `tune`, whose
        kernels are used, and which gets what is measured. Raises QCompileError.
        """
        self.target = load_target(target) if isinstance(target, str) else target
        self.device = device or usual_device(self.target)
        expect_device(self.target, self.device, threads)
        self.threads, self.seed, self.progress = threads, seed, progress
        self.neighbours = neighbours_of(fold(load_network(model)))
        self.widths = _checked(choices, self.neighbours.layers)
        folder = None if records is None else Path(records)
        if folder is not None:
            make_folder(folder)
        self.workshop = Workshop(
            Path(model), self.target, calibration, options or QuantizeOptions(), folder, shapes
        )
        facts = circumstances(Path(model), self.target, self.device, threads, folder)
        if numbers_matter(self.target):
            facts["numbers"] = digest(calibration, self.workshop.options)
        self.kept = Kept(folder, facts)
        self._meter = exact_meter(self.device)
        self.exact = self._meter is not None
        self._folder = Path(tempfile.mkdtemp(prefix="qcompile-latency-"))

    def survey(self) -> LatencyModel:
        """The model of uniform networks of every pair of widths and kernel, and of mixed ones."""
        found: list[Measured] = []
        kernels: dict[tuple[str, Widths], tuple[str, ...]] = {}
        networks = uniform(self.widths)
        for number, widths in enumerate(networks):
            self.progress("measuring uniform networks", number, len(networks))
            one, possible = self._measured(Asked(widths, {}))
            found.append(one)
            kernels |= {(name, widths[name]): each for name, each in possible.items()}
            for other in on_other_kernels(one.assignment, possible):
                found.append(self.measure(other))
        choices = {
            name: tuple(Choice(w.weights, w.activations, k) for w in each for k in kernels[name, w])
            for name, each in self.widths.items()
        }
        model = LatencyModel(
            self.target.name, self.device, self.exact, self.neighbours, choices, tuple(found)
        )
        by_choice = numbers_matter(self.target)
        mixed = probes(near_best(model), self.neighbours, model.survey, self.seed, by_choice)
        for number, assignment in enumerate(mixed):
            self.progress("measuring mixed networks", number, len(mixed))
            found.append(self.measure(assignment))
        return replace(model, survey=tuple(found))

    def measure(self, assignment: Assignment, bundle: Path | None = None) -> Measured:
        """The network on the device, once: what was measured before is not measured again.

        bundle: the network as it was compiled in full quality; it is always measured. Raises
        QCompileError.
        """
        if bundle is None:
            return self._measured(Asked.of(assignment, self.target))[0]
        kernels = {str(layer["name"]): layer["kernel"] for layer in read_manifest(bundle).layers}
        for name, choice in assignment.items():
            if kernels.get(name) != choice.kernel:
                raise InvalidInput(
                    f"{bundle}: layer '{name}' runs on {kernels.get(name)}, not on "
                    f"{choice.kernel}; compile it with kernels=kernels_of(assignment, target)"
                )
        return measured(assignment, self._read(bundle))

    def _measured(self, asked: Asked) -> tuple[Measured, Possible]:
        known = self.kept.find(asked)
        if known is not None:
            return known
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            built = self.workshop.build(asked, Path(folder))
            one = measured(built.assignment, self._read(built.bundle))
        self.kept.keep(asked, one, built.possible)
        return one, built.possible

    def _read(self, bundle: Path) -> Reading:
        if self._meter is None:
            self._meter = self._clock()
        return self._meter.read(bundle)

    def _clock(self) -> Meter:
        """The device's clock, with the widest uniform network as the reference."""
        asked = Asked(uniform(self.widths)[0], {})
        folder = self._folder / "reference"
        make_folder(folder)
        built = self.workshop.build(asked, folder)
        known = self.kept.find(asked)
        reference_s = None if known is None else known[0].seconds
        return Clock(self.device, self.threads, built.bundle, reference_s)

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _checked(
    choices: Mapping[str, Sequence[Widths]], layers: Sequence[str]
) -> dict[str, tuple[Widths, ...]]:
    """The choices in the order of the layers. Raises InvalidInput."""
    for name in (*choices, *layers):
        if name not in layers or not choices.get(name):
            what = "the network has no such layer" if name not in layers else "it has no widths"
            raise InvalidInput(f"choices of layer '{name}': {what}; one or more for each layer")
    return {name: tuple(dict.fromkeys(choices[name])) for name in layers}
