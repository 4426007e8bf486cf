"""Divide a network in integer form between VTA and its board's processor, and lower both parts."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from qcompile.analysis import LayerFacts
from qcompile.export.accelerated import Accelerator
from qcompile.lowering import Analysis, IntegerForm, Lowered, Lowering
from qcompile.passes.lowering import LAYERS, Layer
from qcompile.schedules.space import Decisions
from qcompile.targets import VtaTarget, load_processor
from qcompile.targets.vta.layers import Segment
from qcompile.tuned import vta_tunings_of
from qcompile.vta.division import divide
from qcompile.vta.segment import VtaSegment
from qcompile.vta.timing import time_segment

SIMULATED = "x86-64-v3"  # of machines that simulate: every one that compiles, and no more
KERNEL = "vta"


@dataclass(frozen=True)
class BoardNetwork:
    """A network on a board: kernels of its processor, programs of VTA, and what a report tells."""

    lowered: Lowered
    accelerator: Accelerator
    report: Mapping[str, Any]


def lower_for_board(
    lower: Lowering, form: IntegerForm, board: VtaTarget, say: Callable[[str], None]
) -> BoardNetwork:
    """The network divided between VTA and the board's processor, each part lowered.

    Raises Unsupported when VTA computes nothing of it.
    """
    say("programs for VTA")

    def decide(segment: Segment) -> Mapping[str, Decisions]:
        tunings = vta_tunings_of([segment], board, lower.sources)
        return {tuning.layer: tuning.decisions for tuning in tunings if tuning.decisions}

    parts = divide(form.mod, board, decide)
    segments, tunings = parts.segments, vta_tunings_of(parts.given, board, lower.sources)
    whole = lower.analysis(form, board.host, say)
    rest = replace(form, mod=parts.mod)
    host = lower.kernels(rest, board.host, say)
    simulated = load_processor(SIMULATED)
    accelerator = Accelerator(
        segments, board.registers, lower.kernels(rest, simulated, say).kernels, simulated
    )
    tuning = (*tunings, *host.analysis.tuning)
    analysis = replace(_divided(whole, segments), tuning=tuning)
    report = _report(board, segments, analysis, parts.refused)
    kernels = host.kernels.with_attr(LAYERS, json.dumps(_listed(analysis)))
    return BoardNetwork(Lowered(kernels, analysis), accelerator, report)


def _listed(analysis: Analysis) -> list[dict[str, Any]]:
    """The layers as a manifest lists them."""
    return [
        {field.name: getattr(layer, field.name) for field in fields(Layer)}
        for layer in analysis.layers
    ]


def _divided(whole: Analysis, segments: Sequence[VtaSegment]) -> Analysis:
    """The analysis of the whole network, VTA's layers told as such."""
    names = {layer.name for segment in segments for layer in segment.layers}

    def told(layer: LayerFacts) -> LayerFacts:
        return replace(layer, kernel=KERNEL, choices=()) if layer.name in names else layer

    return replace(whole, layers=tuple(map(told, whole.layers)))


def _report(
    board: VtaTarget,
    segments: Sequence[VtaSegment],
    analysis: Analysis,
    refused: Mapping[str, str],
) -> dict[str, Any]:
    """The programs' simulated cycles, and the layers of the processor with the reasons."""
    timed = [time_segment(segment) for segment in segments]
    cycles = sum(each.cycles for each in timed)
    return {
        "config": board.config.name,
        "port_bits": 8 * board.port_bytes,
        "clock_hz": board.clock_hz,
        "simulated_cycles": cycles,
        "simulated_ms": 1e3 * cycles / board.clock_hz,
        "segments": [
            {
                "name": each.segment.name,
                "folder": f"vta/{each.segment.folder}",
                "cycles": each.cycles,
                "simulated_ms": 1e3 * each.cycles / board.clock_hz,
                "layers": [
                    {
                        "name": layer.name,
                        "cycles": layer.cycles,
                        "simulated_ms": 1e3 * layer.cycles / board.clock_hz,
                        "gemm_utilisation": layer.utilisation,
                    }
                    for layer in each.layers
                ],
            }
            for each in timed
        ],
        "host_layers": [
            {"name": name, "reason": reason} for name, reason in _reasons(analysis, refused).items()
        ],
    }


def _reasons(analysis: Analysis, refused: Mapping[str, str]) -> dict[str, str]:
    """Why the processor computes layers, by their names."""
    kept = {each.layer: each.reason for each in analysis.rescaled if each.reason}
    layers = {
        layer.name: layer.reason or kept.get(layer.name) or "VTA has no form of it"
        for layer in analysis.layers
        if layer.kernel != KERNEL
    }
    return layers | dict(refused)
