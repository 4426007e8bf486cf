"""Networks of chosen widths measured on one device, each once."""

import hashlib
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from qcompile.arrays import Array
from qcompile.commands.progress import Progress, silent
from qcompile.devices import LOCAL, SIM, open_device
from qcompile.errors import InvalidInput
from qcompile.passes.choose_kernels import kernel_name
from qcompile.quantizer import QuantizeOptions, Widths
from qcompile.quantizer.folding import fold
from qcompile.quantizer.network import load_network
from qcompile.records import MeasuredTarget
from qcompile.schedules.space import VERSION
from qcompile.search.latency.building import CHOOSABLE, Asked, Workshop
from qcompile.search.latency.choice import Assignment, Choice
from qcompile.search.latency.kept import Kept
from qcompile.search.latency.measured import Measured, Reading, measured
from qcompile.search.latency.meters import Clock, Meter, exact_meter
from qcompile.search.latency.model import LatencyModel
from qcompile.search.latency.neighbours import neighbours_of
from qcompile.search.latency.probes import probes, uniform
from qcompile.targets import Target, VtaTarget, load_target
from qcompile.tuned import Sources

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
        for a board with VTA. calibration: a few samples. records: the folder of `tune`, which gets
        what is measured. Raises QCompileError."""
        self.target = load_target(target) if isinstance(target, str) else target
        usual = SIM if isinstance(self.target, VtaTarget) else LOCAL
        self.device = device or usual
        self.threads = threads
        self.seed = seed
        self.progress = progress
        self.neighbours = neighbours_of(fold(load_network(model)))
        self.widths = _checked(choices, self.neighbours.layers)
        folder = None if records is None else Path(records)
        if folder is not None and not folder.exists():
            folder.mkdir(parents=True)
        self.workshop = Workshop(
            Path(model), self.target, calibration, options or QuantizeOptions(), folder, shapes
        )
        self.kept = Kept(folder, self._circumstances(Path(model), folder))
        self._folder = Path(tempfile.mkdtemp(prefix="qcompile-latency-"))
        self._meter = exact_meter(self.device)
        self.exact = self._meter is not None

    def survey(self) -> LatencyModel:
        """The model of uniform networks of every pair of widths and kernel, and of mixed ones."""
        found: list[Measured] = []
        kernels: dict[tuple[str, Widths], tuple[str, ...]] = {}
        networks = uniform(self.widths)
        for number, widths in enumerate(networks):
            self.progress("uniform networks", number, len(networks))
            one, possible = self._measured(Asked(widths, {}))
            found.append(one)
            kernels |= {(name, widths[name]): each for name, each in possible.items()}
            for asked in _forced(one.assignment, possible):
                found.append(self._measured(asked)[0])
        choices = {
            name: tuple(
                Choice(w.weights, w.activations, kernel)
                for w in each
                for kernel in kernels[name, w]
            )
            for name, each in self.widths.items()
        }
        mixed = probes(choices, self.neighbours, [one.assignment for one in found], self.seed)
        for number, assignment in enumerate(mixed):
            self.progress("mixed networks", number, len(mixed))
            found.append(self.measure(assignment))
        return LatencyModel(
            self.target.name, self.device, self.exact, self.neighbours, choices, tuple(found)
        )

    def measure(self, assignment: Assignment, bundle: Path | None = None) -> Measured:
        """The network on the device, once: what was measured before is not measured again.

        bundle: the network as it was compiled in full quality; it is always measured. Raises
        QCompileError.
        """
        if bundle is not None:
            return measured(assignment, self._read(bundle))
        return self._measured(Asked.of(assignment, self.target))[0]

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
        folder.mkdir()
        built = self.workshop.build(asked, folder)
        known = self.kept.find(asked)
        return Clock(
            self.device, self.threads, built.bundle, None if known is None else known[0].seconds
        )

    def _circumstances(self, model: Path, records: Path | None) -> dict[str, Any]:
        target = MeasuredTarget.of(self.target)
        sources = Sources.read(records)
        kernels = sorted(
            f"{record.workload} {record.decisions_key} {record.estimate_s}"
            for database in sources.databases
            for record in database
            if record.target.key == target.key
        )
        return {
            "model": hashlib.sha256(model.read_bytes()).hexdigest(),
            "target": [target.name, target.architecture, target.mcpu, list(target.features)],
            "device": self.device,
            "processor": self._processor(),
            "threads": self.threads,
            "records": hashlib.sha256("\n".join(kernels).encode()).hexdigest(),
            "versions": [
                metadata.version("qcompile"),
                VERSION,
                metadata.version("apache-tvm"),
            ],
        }

    def _processor(self) -> str:
        if exact_meter(self.device) is not None:
            return self.device
        assert isinstance(self.target, Target)
        architecture, mcpu = self.target.architecture.name, str(self.target.llvm["mcpu"])
        with open_device(self.device, architecture, mcpu) as opened:
            return opened.processor().name or "unknown"

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


def _forced(assignment: Assignment, possible: Possible) -> list[Asked]:
    """The same widths on every other kernel that some layer could have."""
    widths = {name: choice.widths for name, choice in assignment.items()}
    taken = {name: choice.kernel for name, choice in assignment.items()}
    found, seen = [], [taken]
    for kind in CHOOSABLE:
        kernels = {
            name: next((each for each in possible[name] if kernel_name(each) == kind), taken[name])
            for name in widths
        }
        if kernels not in seen:
            seen.append(kernels)
            named = {name: kernel_name(kernel) for name, kernel in kernels.items()}
            chosen = {name: each for name, each in named.items() if each in CHOOSABLE}
            found.append(Asked(widths, chosen))
    return found


def _checked(
    choices: Mapping[str, Sequence[Widths]], layers: Sequence[str]
) -> dict[str, tuple[Widths, ...]]:
    """The choices in the order of the layers. Raises InvalidInput."""
    for name in (*choices, *layers):
        if name not in layers or not choices.get(name):
            what = "the network has no such layer" if name not in layers else "it has no widths"
            raise InvalidInput(f"choices of layer '{name}': {what}; one or more for each layer")
    return {name: tuple(dict.fromkeys(choices[name])) for name in layers}
