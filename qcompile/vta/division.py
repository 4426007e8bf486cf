"""Which layers of a network VTA computes: those that the planner finds programs for."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import tvm

from qcompile.errors import Unsupported
from qcompile.passes.partition_vta import Partition, partition_vta
from qcompile.schedules.space import Decisions
from qcompile.targets import VtaTarget
from qcompile.targets.vta.layers import Segment
from qcompile.vta.planning import planned
from qcompile.vta.segment import VtaSegment

Decide = Callable[[Segment], Mapping[str, Decisions]]


def by_cycles(segment: Segment) -> Mapping[str, Decisions]:
    """No decisions: the cycle model takes them all."""
    return {}


@dataclass(frozen=True)
class Division:
    """The processor's part and VTA's; refused: why the planner has no program of a layer."""

    parts: Partition
    segments: Sequence[VtaSegment]
    refused: Mapping[str, str]


def divide(
    mod: tvm.IRModule,
    board: VtaTarget,
    on_host: Collection[str] = (),
    decide: Decide = by_cycles,
) -> Division:
    """The network in integer form divided; the processor gets layers that the planner refuses.

    on_host: more layers of the processor, by the names that they have in a division without it.
    decide: what the planner is told of a segment's layers, by their names.

    Raises Unsupported when VTA computes nothing of the network.
    """
    refused: dict[str, str] = {}
    while True:
        parts = partition_vta(mod, board.config, {*on_host, *refused})
        if not parts.segments:
            raise Unsupported(_nothing(board, refused))
        segments = []
        for k, segment in enumerate(parts.segments):
            try:
                segments.append(planned(segment, k, board, parts.products, decide(segment)))
            except Unsupported:
                found = _refusals(segment, board)
                if not found:
                    raise
                refused |= found
        if len(segments) == len(parts.segments):
            return Division(parts, segments, refused)


def _refusals(segment: Segment, board: VtaTarget) -> dict[str, str]:
    """Why layers of the segment have no program even alone, by their names."""
    reasons = {}
    for layer in segment.layers:
        try:
            planned(segment.alone(layer), 0, board, {})
        except Unsupported as error:
            reasons[layer.name] = str(error)
    return reasons


def _nothing(board: VtaTarget, refused: Mapping[str, str]) -> str:
    reasons = "".join(f"; {name}: {reason}" for name, reason in list(refused.items())[:3])
    return (
        f"{board.name}: VTA can compute no layer of this model{reasons}; "
        f"--target {board.host.name} compiles it for the board's processor"
    )
