"""Plans a segment: one instruction stream for all its layers, and the memory it runs on."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
import numpy.typing as npt

from qcompile.targets.vta.config import Buffer, Config
from qcompile.targets.vta.dram import IMAGE_ADDRESS
from qcompile.targets.vta.elements import pack
from qcompile.targets.vta.encoding import encode_uops
from qcompile.targets.vta.image import Image
from qcompile.targets.vta.layers import Integers, Segment, Sums, VtaTensor
from qcompile.targets.vta.planner.arithmetic import Numbers, numbers, planes_of
from qcompile.targets.vta.planner.choice import chosen
from qcompile.targets.vta.planner.problem import pattern_from
from qcompile.targets.vta.planner.sums import Places, SumsPlan, emit_sums
from qcompile.targets.vta.planner.tiles import Tiling
from qcompile.targets.vta.program import Builder, Placement, Program


def plan_segment(
    segment: Segment,
    config: Config,
    port_bytes: int,
    decisions: Mapping[str, Tiling] | None = None,
) -> Program:
    """The program of a segment. decisions: by layer's name; the cycle model chooses the others.

    Raises BufferTooSmall, AccumulatorOverflow, NotRepresentable and Unsupported.
    """
    config.expect_encodable()
    image = Image()
    builder = Builder(config, image)
    placements = _placements(segment, config, image)
    found: dict[str, Numbers] = {}
    layers = []
    for layer in segment.layers:
        first = builder.position
        assert isinstance(layer, Sums)
        found[layer.name] = numbers(layer, segment, config)
        problem = found[layer.name].problem
        tiling = (decisions or {}).get(layer.name) or chosen(problem, config, port_bytes)
        places = Places(
            tuple(placements[each.tensor].address for each in layer.sources),
            placements[layer.output.name].address,
            layer.name,
        )
        emit_sums(builder, SumsPlan(problem, config, tiling), places)
        layers.append((layer.name, first, builder.position - 1))
    instructions = builder.finish()
    return Program(config, instructions, _filled(image, found, config), placements, layers)


def _placements(segment: Segment, config: Config, image: Image) -> dict[str, Placement]:
    tensors = [*segment.tensors, *(layer.output for layer in segment.layers)]
    return {tensor.name: _placed(tensor, config, image) for tensor in tensors}


def _placed(tensor: VtaTensor, config: Config, image: Image) -> Placement:
    n, height, width, channels = tensor.shape
    size = config.element_bytes(Buffer.OUT)
    elements = -(-n // config.batch) * -(-channels // config.block_out) * height * width
    sums = tensor.dtype == "sums"
    planes = config.acc_width // config.out_width if sums else planes_of(tensor, config)
    count = planes * elements * size
    address = image.reserve(count, size)
    return Placement(address, count, tensor.shape, tensor.dtype, planes)


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
