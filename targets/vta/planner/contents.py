"""Fills the memory image: weights, vectors and micro-ops, by the keys that stand for them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
import numpy.typing as npt

from qcompile.targets.vta.config import Config
from qcompile.targets.vta.dram import IMAGE_ADDRESS
from qcompile.targets.vta.elements import pack
from qcompile.targets.vta.encoding import encode_uops
from qcompile.targets.vta.image import Image
from qcompile.targets.vta.layers import Integers
from qcompile.targets.vta.planner.arithmetic import Numbers
from qcompile.targets.vta.planner.digits import wrapping_digits
from qcompile.targets.vta.planner.problem import pattern_from


def filled(image: Image, found: Mapping[str, Numbers], config: Config) -> npt.NDArray[np.uint8]:
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
            one = wrapping_digits(
                np.eye(config.block_out, dtype=np.int64), config.wgt_width, config.acc_width
            )[0]
            return pack(one.reshape(1, -1), config.wgt_width).tobytes()
        case ("uop", bytes(table)):
            return encode_uops(config, np.frombuffer(table, np.int64).reshape(-1, 3))
        case (str(layer), "weights", int(operand), tuple(which)):
            return _weights(found[layer], operand, which, config)
        case (str(layer), "start", int(row), int(column), (begin, end)):
            return _vectors(found[layer].starts[row, column, begin:end], config)
        case (str(layer), "term", int(term), (begin, end)):
            return _vectors(found[layer].terms[term, begin:end], config)
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
