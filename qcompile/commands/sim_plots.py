"""Pictures of the three queues of VTA over time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qcompile.commands.plots import expect_matplotlib
from qcompile.targets.vta.cycles import Timeline, Unit
from qcompile.targets.vta.instructions import Queue

if TYPE_CHECKING:
    from qcompile.commands.sim_bench import SimBench
    from qcompile.vta.timing import SegmentCycles

COLOURS = {
    Unit.LOAD: "tab:blue",
    Unit.GEMM: "tab:green",
    Unit.ALU: "tab:orange",
    Unit.COMPUTE_LOAD: "tab:purple",
    Unit.STORE: "tab:red",
}


def draw_queues(found: SimBench, folder: Path) -> list[Path]:
    """Write queues_NN_name.png for each segment; the files written."""
    expect_matplotlib()
    return [_draw(segment, found.clock_hz, folder) for segment in found.segments]


def _draw(segment: SegmentCycles, clock_hz: float, folder: Path) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 4), layout="constrained")
    title = f"{segment.segment.name}: {segment.cycles:,} simulated cycles, "
    title += f"{1e3 * segment.cycles / clock_hz:.3f} ms at {clock_hz / 1e6:g} MHz"
    axes = figure.add_subplot(xlabel="cycles")
    axes.set_title(title, pad=30)  # the layers' names stand below it
    for unit, colour in COLOURS.items():
        for row, queue in enumerate(Queue):
            if bars := _bars(segment.timeline, queue, unit):
                axes.broken_barh(bars, (row - 0.4, 0.8), color=colour, label=unit.value)
    axes.set_yticks(range(len(Queue)), [queue.name for queue in Queue])
    axes.invert_yaxis()
    axes.set_xlim(0, segment.cycles)
    _mark_layers(axes, segment)
    figure.legend(loc="outside right upper")
    path = folder / f"queues_{segment.segment.folder}.png"
    figure.savefig(path)
    return path


def _bars(timeline: Timeline, queue: Queue, unit: Unit) -> list[tuple[int, int]]:
    return [
        (span.start, span.end - span.start)
        for span in timeline.spans
        if span.queue == queue and span.unit == unit
    ]


def _mark_layers(axes: Any, segment: SegmentCycles) -> None:
    begin = 0
    for layer in segment.layers:
        axes.axvline(begin, color="grey", linewidth=0.5)
        axes.text(begin, -0.45, f" {layer.name}", fontsize="x-small", rotation=20, va="bottom")
        begin += layer.cycles
