"""Plans a segment: one instruction stream for all its layers, and the memory it runs on."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
import numpy.typing as npt

from qcompile.errors import Unsupported
from qcompile.schedules.space import Decisions
from qcompile.targets.vta.config import Config
from qcompile.targets.vta.dram import IMAGE_ADDRESS
from qcompile.targets.vta.elements import pack
from qcompile.targets.vta.encoding import encode_uops
from qcompile.targets.vta.image import Image
from qcompile.targets.vta.layers import Integers, Layer, Segment, Sums
from qcompile.targets.vta.planner.arithmetic import Numbers, numbers, planes_of
from qcompile.targets.vta.planner.choice import chosen, space, tiling_of
from qcompile.targets.vta.planner.emit import Plan, emit, plan_of
from qcompile.targets.vta.planner.memory import operands, placements
from qcompile.targets.vta.planner.problem import PoolProblem, Problem, pattern_from
from qcompile.targets.vta.planner.tiles import Places
from qcompile.targets.vta.program import Builder, Program


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
    return Program(config, instructions, _filled(image, found, config), placed, layers)


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


def _filled(image: Image, found: Mapping[str, Numbers], config: Config) -> npt.NDArray[np.uint8]:
    """The image with all constants in it."""
    data = np.zeros(image.end - IMAGE_ADDRESS, np.uint8)
    for key, (address, size) in image.constants.items():
        first = address - IMAGE_ADDRESS
        data[first : first + size] = np.frombuffer(_contents(key, found, config, size), np.uint8)
    return data


def _contents(key: Hashable, found: Mapping[str, Numbers], config: Config, size: int) -> bytes:
    """The bytes that a key of the image stands for."""
    match key:
        case ("zeros", _):
            return bytes(size)
        case ("one",):
            return pack(np.eye(config.block_out).reshape(1, -1), config.wgt_width).tobytes()
        case ("uop", bytes(table)):
            return encode_uops(config, np.frombuffer(table, np.int64).reshape(-1, 3))
        case (str(layer), "weights", int(operand), tuple(which)):
            return _weights(found[layer], operand, which, config)
        case (str(layer), "start", int(row), int(column), (begin, end)):
            return _vectors(found[layer].starts[row, column, begin:end], config)
        case (str(layer), "shift", (begin, end)):
            return _vectors(found[layer].shifts[begin:end], config)
    raise AssertionError(key)


def _weights(given: Numbers, operand: int, which: tuple[int, ...], config: Config) -> bytes:
    problem, weights = given.problem, given.weights[operand]
    pattern = pattern_from(problem.operands[operand], problem.output[3], config.block_out)
    numbers, first = np.unique(pattern, return_index=True)
    places = first[np.searchsorted(numbers, np.array(which))]
    blocks = weights.reshape(-1, config.block_out * config.block_in)[places]
    return pack(blocks, config.wgt_width).tobytes()


def _vectors(values: Integers, config: Config) -> bytes:
    """(blocks, block) values, the same for all of a batch."""
    repeated = np.repeat(values[:, None], config.batch, axis=1)
    return pack(repeated.reshape(len(values), -1), config.acc_width).tobytes()
