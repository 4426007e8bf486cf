"""Pictures of a tuning: how much faster the network, and each of its kernels, became."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qcompile.commands.plots import expect_matplotlib

if TYPE_CHECKING:
    from qcompile.tuning.result import TuneResult


def draw_tuning(found: TuneResult, folder: Path) -> list[Path]:
    """Write tuning.png and tuning_tasks.png; the files written, none before a second batch."""
    expect_matplotlib()
    from matplotlib.figure import Figure

    if len(found.curve) < 2:
        return []
    trials = [point.trials for point in found.curve]
    figure = Figure(layout="constrained")
    axes = figure.add_subplot(xlabel="trials", ylabel="all tuned kernels (ms)")
    axes.step(trials, [1e3 * point.network_s for point in found.curve], where="post")
    axes.set_title(f"{1e3 * found.before_s:.3g} ms before, {1e3 * found.after_s:.3g} ms after")
    files = [folder / "tuning.png", folder / "tuning_tasks.png"]
    figure.savefig(files[0])
    figure = Figure(figsize=(8, 5 + 0.1 * len(found.tasks)), layout="constrained")
    axes = figure.add_subplot(xlabel="trials", ylabel="time of a call, before = 1")
    for number, task in enumerate(found.tasks):
        ratios = [point.tasks_s[number] / (task.default_s or 1) for point in found.curve]
        axes.step(trials, ratios, where="post", label=task.name)
    figure.legend(loc="outside right upper", fontsize="x-small")
    figure.savefig(files[1])
    return files
