"""Our bundle as a contender: its static bench executable, one process for each block."""

import json
import subprocess
from typing import Any

from qcompile.commands.manifest import Manifest
from qcompile.errors import BundleError
from qcompile.targets import host_features


class OwnBench:
    """The executable bin/NAME_bench of a bundle."""

    name = "qcompile"

    def __init__(self, manifest: Manifest, threads: int) -> None:
        """Raises BundleError when this processor lacks what the bundle needs."""
        from qcompile import __version__

        if missing := [name for name in manifest.features if name not in host_features()]:
            raise BundleError(
                f"{manifest.folder}: compiled for {manifest.target}; "
                f"this processor lacks {', '.join(missing)}"
            )
        self.version = __version__
        self.threads = threads
        self.variant = manifest.variant
        self.executable = manifest.folder / "bin" / f"{manifest.name}_bench"

    def block(self, inferences: int) -> list[float]:
        """The seconds of so many inferences, warm."""
        return [float(s) for s in self._run("--repeat", str(inferences))["seconds"]]

    def layers(self, inferences: int) -> list[tuple[str, float]]:
        """Each kernel call's layer and its median seconds, in order."""
        answer = self._run("--repeat", str(inferences), "--per-layer")
        return [(layer["name"], float(layer["median_s"])) for layer in answer["layers"]]

    def _run(self, *options: str) -> dict[str, Any]:
        command = [str(self.executable.absolute()), "--json", "--threads", str(self.threads)]
        if self.variant is not None:
            command += ["--variant", self.variant]
        try:
            done = subprocess.run([*command, *options], capture_output=True, text=True)
        except OSError as error:
            raise BundleError(f"{self.executable}: cannot be run: {error.strerror}") from error
        if done.returncode != 0:
            told = done.stderr.strip() or f"exit code {done.returncode}"
            raise BundleError(f"{self.executable}: {told}")
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer
