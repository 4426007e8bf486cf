"""Divide a network in integer form between VTA and its board's processor, and lower both parts."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from qcompile.analysis import LayerFacts
from qcompile.export.accelerated import Accelerator
from qcompile.lowering import Analysis, IntegerForm, Lowered, Lowering
from qcompile.passes.lowering import LAYERS, Layer
from qcompile.passes.partition_vta import Partition
from qcompile.schedules.space import Decisions
from qcompile.targets import VtaTarget, load_processor
from qcompile.targets.costs import costs_of
from qcompile.targets.vta.layers import Segment
from qcompile.tuned import vta_tunings_of
from qcompile.vta.division import Division, divide
from qcompile.vta.places import Place, choose_places
from qcompile.vta.segment import VtaSegment
from qcompile.vta.timing import time_segment

SIMULATED = "x86-64-v3"  # of machines that simulate: every one that compiles, and no more
KERNEL = "vta"


@dataclass(frozen=True)
class BoardNetwork:
    """A network on a board: kernels of its processor, and programs of VTA."""

    lowered: Lowered
    accelerator: Accelerator


def lower_for_board(
    lower: Lowering, form: IntegerForm, board: VtaTarget, say: Callable[[str], None]
) -> BoardNetwork:
    """The network divided between VTA and the board's processor, each part lowered.

    Raises Unsupported when VTA computes nothing of it, and what the planner raises.
    """
    division, analysis = divided_for_board(lower, form, board, say)
    rest = replace(form, mod=division.parts.mod)
    host = lower.kernels(rest, board.host, say)
    simulated = load_processor(SIMULATED)
    programs = lower.kernels(rest, simulated, say).kernels
    accelerator = Accelerator(division.segments, board.registers, programs, simulated)
    tunings = vta_tunings_of(division.parts.segments, board, lower.sources)
    analysis = replace(analysis, tuning=(*tunings, *host.analysis.tuning))
    kernels = host.kernels.with_attr(LAYERS, json.dumps(_listed(analysis)))
    return BoardNetwork(Lowered(kernels, analysis), accelerator)


def divided_for_board(
    lower: Lowering, form: IntegerForm, board: VtaTarget, say: Callable[[str], None]
) -> tuple[Division, Analysis]:
    """The network divided, and what is known of its layers; `vta` tells of VTA's.

    Raises Unsupported when VTA computes nothing of it, and what the planner raises.
    """
    say("programs for VTA")
    whole = lower.analysis(form, board.host, say)
    placed = place_layers(lower, form, whole, board)
    division = placed.division
    analysis = _divided(whole, division.parts)
    report = _report(board, division.segments, analysis, placed.sooner, division.refused)
    report["places"] = [asdict(place) for place in placed.places]
    return division, replace(analysis, vta=report)


@dataclass(frozen=True)
class Placed:
    """Where layers run. sooner: the network's layers that the processor does sooner than VTA."""

    division: Division
    places: tuple[Place, ...]
    sooner: frozenset[str]


def place_layers(lower: Lowering, form: IntegerForm, whole: Analysis, board: VtaTarget) -> Placed:
    """The network divided so that it is done soonest. whole: on the board's processor alone."""

    def decide(segment: Segment) -> Mapping[str, Decisions]:
        tunings = vta_tunings_of([segment], board, lower.sources)
        return {tuning.layer: tuning.decisions for tuning in tunings if tuning.decisions}

    division = divide(form.mod, board, decide=decide)
    places = _places(division, whole, board)
    on_host = [place.layer for place in places if not place.on_vta]
    products = division.parts.products
    sooner = frozenset(product for layer in on_host for product in products[layer])
    if on_host:
        division = divide(form.mod, board, on_host, decide)
    return Placed(division, places, sooner)


def _listed(analysis: Analysis) -> list[dict[str, Any]]:
    """The layers as a manifest lists them."""
    return [
        {field.name: getattr(layer, field.name) for field in fields(Layer)}
        for layer in analysis.layers
    ]


def _places(division: Division, whole: Analysis, board: VtaTarget) -> tuple[Place, ...]:
    """Where each layer that VTA can compute is sooner done. whole: on the processor alone."""
    parts = division.parts
    timed = [layer for segment in division.segments for layer in time_segment(segment).layers]
    predicted = {
        layer.name: layer.choices[0]["predicted_us"] if layer.choices else None
        for layer in whole.layers
    }
    products: dict[str, float | None] = {}
    for name, inner in parts.products.items():
        times = [predicted[each] for each in inner]
        known = [1e-6 * time for time in times if time is not None]
        products[name] = sum(known) if len(known) == len(times) else None
    return choose_places(
        parts.segments,
        {layer.name: layer.cycles / board.clock_hz for layer in timed},
        products,
        costs_of(board.host),
    )


def _divided(whole: Analysis, parts: Partition) -> Analysis:
    """The analysis of the whole network, VTA's layers told as such."""
    names = {name for products in parts.products.values() for name in products}

    def told(layer: LayerFacts) -> LayerFacts:
        return replace(layer, kernel=KERNEL, choices=()) if layer.name in names else layer

    return replace(whole, layers=tuple(map(told, whole.layers)))


def _report(
    board: VtaTarget,
    segments: Sequence[VtaSegment],
    analysis: Analysis,
    sooner: Collection[str],
    refused: Mapping[str, str],
) -> dict[str, Any]:
    """The programs' simulated cycles, and the layers of the processor with the reasons.

    sooner: the convolutions and products that the processor took off VTA; refused: why the planner
    has no program of layers.
    """
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
            {"name": name, "reason": reason}
            for name, reason in _reasons(analysis, sooner, refused).items()
        ],
    }


def _reasons(
    analysis: Analysis, sooner: Collection[str], refused: Mapping[str, str]
) -> dict[str, str]:
    """Why the processor computes layers, by their names."""
    kept = {each.layer: each.reason for each in analysis.rescaled if each.reason}
    taken = dict.fromkeys(sooner, "the processor is sooner done with it")
    reasons = {
        layer.name: layer.reason
        or taken.get(layer.name)
        or kept.get(layer.name)
        or "VTA has no form of it"
        for layer in analysis.layers
        if layer.kernel != KERNEL
    }
    return reasons | dict(refused)
