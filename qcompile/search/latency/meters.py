"""Readings of bundles: by clocks of devices, models of cores, and the simulator of VTA."""

from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median
from typing import Protocol

import numpy as np

from qcompile.commands.manifest import read_manifest
from qcompile.commands.model_bench import KIND, model_bench
from qcompile.commands.own_bench import OwnBench
from qcompile.commands.sim_bench import sim_bench
from qcompile.devices import SIM
from qcompile.errors import DeviceError
from qcompile.search.latency.measured import Reading

ROUNDS = 9
BLOCK_S = 0.05  # long against a change of the clock, short against a change of load
MOST_INFERENCES = 20_000
NORMAL = 1.4826  # a standard deviation in median absolute deviations


class Meter(Protocol):
    def read(self, bundle: Path) -> Reading:
        """What one inference of the bundle takes. Raises QCompileError."""


class Model:
    """A model of a core; the same cycles every time."""

    def __init__(self, device: str) -> None:
        self.device = device

    def read(self, bundle: Path) -> Reading:
        found = model_bench(bundle, self.device)
        calls = tuple((layer.name, layer.cycles / found.clock_hz) for layer in found.layers)
        return Reading(found.modelled_s, 0.0, calls)


class Simulator:
    """VTA's cycles; what the board's processor does is not in them."""

    def read(self, bundle: Path) -> Reading:
        found = sim_bench(bundle)
        calls = tuple(
            ((layer.products or (layer.name,))[0], layer.cycles / found.clock_hz)
            for layer in found.layers
        )
        return Reading(found.simulated_s, 0.0, calls)


class Clock:
    """A device's clock. Machines have faster and slower minutes: every bundle is measured in turns
    with the reference, and its seconds are those of the minute in which that took `reference_s`.
    """

    def __init__(
        self, device: str, threads: int, reference: Path, reference_s: float | None
    ) -> None:
        """reference_s: None to measure it with the first reading."""
        self.device = device
        self.threads = threads
        self.reference = reference
        self.reference_s = reference_s

    def read(self, bundle: Path) -> Reading:
        with ExitStack() as stack:
            other, own = (stack.enter_context(closing(self._bench(b))) for b in self._pair(bundle))
            if own.placed.device.emulated:
                raise DeviceError(
                    f"{self.device}: an emulator says nothing about speed; a board (ssh://, adb:, "
                    "rpc://) does, and model:TARGET"
                )
            sizes = [_block(bench) for bench in (other, own)]
            ratios, layers, references = [], [], []
            for _ in range(ROUNDS):
                references.append(median(other.block(sizes[0])))
                ratios.append(median(own.block(sizes[1])) / references[-1])
                calls = own.layers(sizes[1])
                layers.append([seconds / references[-1] for _, seconds in calls])
        if self.reference_s is None:
            self.reference_s = median(references)
        ratio = median(ratios)
        spread = NORMAL * median(abs(each - ratio) for each in ratios)
        parts = np.median(np.array(layers), axis=0)
        names = [name for name, _ in calls]
        return Reading(
            ratio * self.reference_s,
            spread * self.reference_s,
            tuple(zip(names, (float(p) * self.reference_s for p in parts), strict=True)),
        )

    def _pair(self, bundle: Path) -> tuple[Path, Path]:
        return self.reference, bundle

    def _bench(self, bundle: Path) -> OwnBench:
        return OwnBench(read_manifest(bundle), self.threads, self.device)


def _block(bench: OwnBench) -> int:
    """How many inferences fill a block."""
    seconds = median(bench.block(3))
    return max(3, min(MOST_INFERENCES, int(BLOCK_S / max(seconds, 1e-9))))


def exact_meter(device: str) -> Meter | None:
    """The model or simulator of that name, None for a device with a clock."""
    if device == SIM:
        return Simulator()
    return Model(device) if device.startswith(KIND) else None
