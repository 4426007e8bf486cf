"""Plans a segment: one instruction stream for all its layers, and the memory it runs on."""

from __future__ import annotations

from collections.abc import Mapping

from qcompile.errors import Unsupported
from qcompile.schedules.space import Decisions
from qcompile.targets.vta.builder import Builder
from qcompile.targets.vta.config import Config
from qcompile.targets.vta.image import Image
from qcompile.targets.vta.layers import Layer, Segment, Sums
from qcompile.targets.vta.planner.arithmetic import Numbers, numbers
from qcompile.targets.vta.planner.choice import chosen, space
from qcompile.targets.vta.planner.contents import filled
from qcompile.targets.vta.planner.decisions import tiling_of
from qcompile.targets.vta.planner.emit import Plan, emit, plan_of
from qcompile.targets.vta.planner.memory import operands, placements
from qcompile.targets.vta.planner.operands import planes_of
from qcompile.targets.vta.planner.problem import PoolProblem, Problem
from qcompile.targets.vta.planner.tiles import Places
from qcompile.targets.vta.program import Program


def plan_segment(
    segment: Segment,
    config: Config,
    port_bytes: int,
    decisions: Mapping[str, Decisions] | None = None,
) -> Program:
    """The program of a segment. decisions: by layer's name; the cycle model takes the others.

    Raises BufferTooSmall, AccumulatorOverflow, NotRepresentable, UnknownDecision, Unsupported.
    """
    config.expect_encodable()
    image = Image()
    builder = Builder(config, image)
    placed = placements(segment, config, image)
    found: dict[str, Numbers] = {}
    layers = []
    for layer in segment.layers:
        first = builder.position
        try:
            if isinstance(layer, Sums):
                found[layer.name] = numbers(layer, segment, config)
                problem: Problem = found[layer.name].problem
            else:
                problem = problem_of(layer, segment, config)
            plan = _plan(problem, config, port_bytes, (decisions or {}).get(layer.name))
        except Unsupported as error:
            raise type(error)(f"VTA layer '{layer.name}': {error}") from error
        inputs = tuple(placed[name].address for name in operands(layer))
        places = Places(inputs, placed[layer.output.name].address, layer.name)
        given = found.get(layer.name)
        emit(builder, plan, places, given.immediates if given else None)
        layers.append((layer.name, first, builder.position - 1))
    instructions = builder.finish()
    return Program(config, instructions, filled(image, found, config), placed, layers)


def problem_of(layer: Layer, segment: Segment, config: Config) -> Problem:
    """What a layer of the segment asks of the accelerator. Raises as `plan_segment` does."""
    if isinstance(layer, Sums):
        return numbers(layer, segment, config).problem
    tensor = segment.tensor(layer.tensor)
    return PoolProblem(
        output=layer.output.shape,
        shape=tensor.shape[1:],
        kernel=layer.kernel,
        strides=layer.strides,
        padding=layer.padding,
        lowest=tensor.low,
        highest=tensor.high,
        planes=planes_of(tensor, config),
    )


def _plan(problem: Problem, config: Config, port_bytes: int, decisions: Decisions | None) -> Plan:
    if not decisions:
        return plan_of(problem, config, chosen(problem, config, port_bytes))
    every = space(problem, config, port_bytes).chosen(decisions)
    return plan_of(problem, config, tiling_of(every))
