"""Pictures of a measurement."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qcompile.errors import MissingPackage

if TYPE_CHECKING:
    from qcompile.commands.bench import Bench


def expect_matplotlib() -> None:
    """Raise MissingPackage without matplotlib: before an hour of measuring, not after it."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingPackage("plots need matplotlib: pip install 'qcompile[plots]'") from error


def draw(found: Bench, folder: Path) -> list[Path]:
    """Write latency.png, and layers.png where layers were measured; the files written."""
    expect_matplotlib()
    from matplotlib.figure import Figure

    latencies = found.latencies
    medians = [1e3 * latency.median_s for latency in latencies]
    spread = [
        [1e3 * (latency.median_s - latency.p10_s) for latency in latencies],
        [1e3 * (latency.p90_s - latency.median_s) for latency in latencies],
    ]
    figure = Figure(layout="constrained")
    axes = figure.add_subplot(ylabel="latency (ms)", title="median, 10th to 90th percentile")
    axes.bar([latency.name for latency in latencies], medians, yerr=spread, capsize=4)
    files = [folder / "latency.png"]
    figure.savefig(files[0])
    if found.layers:
        names = [layer.name for layer in found.layers]
        figure = Figure(figsize=(8, 1 + 0.2 * len(names)), layout="constrained")
        axes = figure.add_subplot(xlabel="median (us)")
        axes.barh(range(len(names)), [1e6 * layer.median_s for layer in found.layers])
        axes.set_yticks(range(len(names)), names, fontsize="x-small")
        axes.invert_yaxis()
        files.append(folder / "layers.png")
        figure.savefig(files[1])
    return files
