"""What compiling costs: seconds, memory, and the bytes that are shipped."""

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from qcompile.commands.manifest import Manifest, read_manifest

POLL_S = 0.05
COLUMNS = ["network", "compile s", "peak MiB", "weights KiB", "library adds KiB", "workspace KiB"]


@dataclass(frozen=True)
class Cost:
    """One compilation by the command line; memory of all its processes together."""

    seconds: float
    peak_bytes: int
    manifest: Manifest

    def row(self, name: str) -> list[str]:
        weights = self.manifest.weight_bytes
        return [
            name,
            f"{self.seconds:.1f}",
            f"{self.peak_bytes / 2**20:.0f}",
            f"{weights / 2**10:,.0f}",
            f"{(self.manifest.library_bytes - weights) / 2**10:.0f}",
            f"{self.manifest.workspace_bytes / 2**10:,.0f}",
        ]


def compile_with_cost(
    model: Path, output: Path, shapes: Mapping[str, Sequence[int]] | None = None
) -> Cost:
    """Compile `model` for this machine into the folder `output`. Raises CalledProcessError."""
    command = [sys.executable, "-m", "qcompile", "compile", str(model), "--target", "host"]
    command += ["-o", str(output)]
    for name, shape in (shapes or {}).items():
        command += ["--shape", f"{name}:{'x'.join(map(str, shape))}"]
    begin = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        peak = 0
        while process.poll() is None:
            peak = max(peak, _resident(process.pid))
            time.sleep(POLL_S)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Cost(time.perf_counter() - begin, peak, read_manifest(output))


def _resident(pid: int) -> int:
    """Bytes in memory of a process and its descendants."""
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    total = 0
    for process in family:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue  # it ended meanwhile
    return total
