"""A layer timed among its neighbours: what of it runs beside them takes no time of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qcompile.targets.vta.builder import Builder
from qcompile.targets.vta.config import Config
from qcompile.targets.vta.cycles import simulate
from qcompile.targets.vta.image import Image
from qcompile.targets.vta.instructions import Queue
from qcompile.targets.vta.layers import Layer, Segment
from qcompile.targets.vta.planner.choice import chosen
from qcompile.targets.vta.planner.emit import Plan, any_immediates, emit, plan_of
from qcompile.targets.vta.planner.memory import operands, placements
from qcompile.targets.vta.planner.problem import Problem
from qcompile.targets.vta.planner.tiles import Places


@dataclass(frozen=True)
class Neighbour:
    """A layer with the cycle model's own decisions, and where its tensors are."""

    problem: Problem
    places: Places


@dataclass(frozen=True)
class Company:
    """Where a layer's tensors are, and the layers that run before and after it, if any.

    end: the address behind all tensors.
    """

    places: Places
    before: Neighbour | None
    after: Neighbour | None
    end: int

    @property
    def problems(self) -> tuple[Problem | None, Problem | None]:
        """Of the layers before and after."""
        before, after = self.before, self.after
        return before.problem if before else None, after.problem if after else None


def companies(segment: Segment, problems: Sequence[Problem], config: Config) -> list[Company]:
    """That of each layer of a segment. problems: of the layers, in their order."""
    image = Image()
    placed = placements(segment, config, image)

    def places(layer: Layer) -> Places:
        inputs = tuple(placed[name].address for name in operands(layer))
        return Places(inputs, placed[layer.output.name].address, layer.name)

    own = [places(layer) for layer in segment.layers]
    around = [None, *map(Neighbour, problems, own), None]
    return [
        Company(each, around[number], around[number + 2], image.end)
        for number, each in enumerate(own)
    ]


@dataclass(frozen=True)
class CompanyCycles:
    """whole: of the program. own: from the layer before to the layer's end, as COMPUTE has it."""

    whole: int
    own: int


def cycles_in(company: Company, plan: Plan, port_bytes: int) -> CompanyCycles:
    """A program of the layer and its neighbours, timed without weights.

    Raises BufferTooSmall, NotRepresentable and Deadlock.
    """
    builder, ends = Builder(plan.config, Image(company.end)), []
    for neighbour in (company.before, Neighbour(plan.problem, company.places), company.after):
        if neighbour is not None:
            own = neighbour.places == company.places
            used = plan if own else _chosen(neighbour.problem, plan.config, port_bytes)
            emit(builder, used, neighbour.places, any_immediates(neighbour.problem))
        ends.append(builder.position)
    timeline = simulate(plan.config, port_bytes, builder.finish())
    computed = [span.end if span.queue == Queue.COMPUTE else 0 for span in timeline.spans]
    begin = max(computed[: ends[0]], default=0)
    end = max(computed[: ends[1]]) if company.after is not None else timeline.cycles
    return CompanyCycles(timeline.cycles, end - begin)


def _chosen(problem: Problem, config: Config, port_bytes: int) -> Plan:
    return plan_of(problem, config, chosen(problem, config, port_bytes))
