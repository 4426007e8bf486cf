"""Our bundle as a contender: its static bench executable on a device, one process for a block."""

from typing import Any

from qcompile.commands.manifest import Manifest
from qcompile.commands.placed import place
from qcompile.devices import LOCAL

WARMUP, WARMUP_S = 10, 0.25  # at most, before each block


class OwnBench:
    """The executable bin/NAME_bench of a bundle, on a device that it opens."""

    name = "qcompile"

    def __init__(self, manifest: Manifest, threads: int, device: str = LOCAL) -> None:
        """Raises DeviceError or BundleError when the device cannot run the bundle."""
        from qcompile import __version__

        self.version = __version__
        self.threads = threads
        self.placed = place(device, manifest)
        self.warmup = max(1, min(WARMUP, int(WARMUP_S / max(self.placed.first_s, 1e-9))))

    def block(self, inferences: int) -> list[float]:
        """The seconds of so many inferences, warm."""
        answer = self._call(inferences)
        return [float(s) for s in answer["seconds"]]

    def layers(self, inferences: int) -> list[tuple[str, float]]:
        """Each kernel call's layer and its median seconds, in order."""
        answer = self._call(inferences, "--per-layer")
        return [(layer["name"], float(layer["median_s"])) for layer in answer["layers"]]

    def close(self) -> None:
        self.placed.close()

    def _call(self, inferences: int, *options: str) -> dict[str, Any]:
        numbers = {"threads": self.threads, "warmup": self.warmup, "repeat": inferences}
        given = (word for name, number in numbers.items() for word in (f"--{name}", str(number)))
        return self.placed.call(*given, *options)
