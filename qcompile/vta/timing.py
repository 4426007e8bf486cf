"""Cycles of a segment by its layers, in the simulator of the three queues.

COMPUTE runs the layers one after the other, so it divides the time among them: a layer lasts from
the end of the last COMPUTE instruction of the layer before to the end of its own last one, the last
layer to the end of the program. In it COMPUTE multiplies, runs ALU, loads micro-ops and sums, or
waits; the LOAD and STORE modules work beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from qcompile.targets.vta.cycles import Timeline, Unit, simulate
from qcompile.targets.vta.instructions import Queue
from qcompile.vta.segment import SegmentLayer, VtaSegment


@dataclass(frozen=True)
class LayerCycles:
    """A layer's time: cycles = gemm + alu + compute_load + waiting.

    products: the network's convolutions and products in it. load, store: cycles in which these
    modules work for the layer, beside COMPUTE. waiting: for them, and for the layer's start and
    end.
    """

    name: str
    products: tuple[str, ...]
    cycles: int
    load: int
    gemm: int
    alu: int
    compute_load: int
    store: int
    waiting: int

    @property
    def utilisation(self) -> float:
        """The share of the layer's cycles in which the GEMM core works."""
        return self.gemm / self.cycles if self.cycles else 0.0


@dataclass(frozen=True)
class SegmentCycles:
    """A segment's time, and that of its layers, which adds up to it."""

    segment: VtaSegment
    timeline: Timeline
    layers: tuple[LayerCycles, ...]

    @property
    def cycles(self) -> int:
        return self.timeline.cycles


def time_segment(segment: VtaSegment) -> SegmentCycles:
    """The simulated cycles of one run of the segment. Raises Deadlock."""
    timeline = simulate(segment.config, segment.port_bytes, segment.decoded())
    # Instructions before the first layer, between layers and after the last: the layer before them.
    starts = [0, *(layer.first for layer in segment.layers[1:]), len(timeline.spans)]
    layers, begin = [], 0
    for k, layer in enumerate(segment.layers):
        numbers = range(starts[k], starts[k + 1])
        last = k + 1 == len(segment.layers)
        end = timeline.cycles if last else _end(timeline, numbers, begin)
        layers.append(_layer(layer, timeline, numbers, end - begin))
        begin = end
    return SegmentCycles(segment, timeline, tuple(layers))


def _end(timeline: Timeline, numbers: Sequence[int], begin: int) -> int:
    """When COMPUTE has done the last of these instructions."""
    spans = [timeline.spans[n] for n in numbers]
    return max((span.end for span in spans if span.queue == Queue.COMPUTE), default=begin)


def _layer(
    layer: SegmentLayer, timeline: Timeline, numbers: Sequence[int], cycles: int
) -> LayerCycles:
    busy = dict.fromkeys(Unit, 0)
    for n in numbers:
        span = timeline.spans[n]
        busy[span.unit] += span.end - span.start - span.port
    computing = busy[Unit.GEMM] + busy[Unit.ALU] + busy[Unit.COMPUTE_LOAD]
    return LayerCycles(
        name=layer.name,
        products=layer.products,
        cycles=cycles,
        load=busy[Unit.LOAD],
        gemm=busy[Unit.GEMM],
        alu=busy[Unit.ALU],
        compute_load=busy[Unit.COMPUTE_LOAD],
        store=busy[Unit.STORE],
        waiting=cycles - computing,
    )
