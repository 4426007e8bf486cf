"""Streams written one instruction after the other mean the same when three modules run them."""

from itertools import pairwise

import numpy as np
import pytest

from qcompile.targets.vta import functional
from qcompile.targets.vta.builder import Builder
from qcompile.targets.vta.config import DEFAULT, Buffer
from qcompile.targets.vta.dram import IMAGE_ADDRESS
from qcompile.targets.vta.elements import pack
from qcompile.targets.vta.encoding import encode_uops
from qcompile.targets.vta.image import Image
from qcompile.targets.vta.instructions import AluOp
from qcompile.targets.vta.lint import TOKENS_IN_FLIGHT
from qcompile.targets.vta.order import order

ELEMENTS = 40
SIZE = DEFAULT.element_bytes(Buffer.INP)


def one_uop(dst, src):
    return np.array([[dst, src, 0]], np.int64)


def copies(builder, x, y, together):
    """Stores x + 1 at y, element by element; all loads before everything else, or each in turn."""
    weights = builder.image.constant("one", DEFAULT.element_bytes(Buffer.WGT), 256)
    builder.load(Buffer.WGT, 0, weights, (1, 1))
    if together:
        for n in range(ELEMENTS):
            builder.load(Buffer.INP, n, x + n * SIZE, (1, 1))
    for n in range(ELEMENTS):
        if not together:
            builder.load(Buffer.INP, n, x + n * SIZE, (1, 1))
        builder.gemm(one_uop(n, 0), (1, 1), (0, 0), reset=True)
        builder.gemm(one_uop(n, n), (1, 1), (0, 0))
        builder.alu(AluOp.ADD, one_uop(n, n), (1, 1), (0, 0), immediate=1)
        builder.store(n, y + n * SIZE, (1, 1), 1)


def run(builder, x, values):
    """The image after the program, x filled in; and the program."""
    instructions = builder.finish()
    data = np.zeros(builder.image.end - IMAGE_ADDRESS, np.uint8)
    for key, (address, size) in builder.image.constants.items():
        one = pack(np.eye(16, dtype=np.int64).reshape(1, -1), 8).tobytes()
        if key != "one":
            one = encode_uops(DEFAULT, np.frombuffer(key[1], np.int64).reshape(-1, 3))
        data[address - IMAGE_ADDRESS :][:size] = np.frombuffer(one, np.uint8)
    data[x - IMAGE_ADDRESS :][: values.size] = values.reshape(-1).view(np.uint8)
    functional.run(DEFAULT, instructions, data)
    return data, instructions


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("layers", [1, 3])
def test_orders_modules_with_few_tokens(together, layers):
    image = Image()
    places = [image.reserve(ELEMENTS * SIZE, SIZE) for _ in range(layers + 1)]
    builder = Builder(DEFAULT, image)
    for x, y in pairwise(places):
        builder.begin_layer()
        copies(builder, x, y, together)
    values = np.random.default_rng(0).integers(-100, 100, (ELEMENTS, SIZE)).astype(np.int8)
    data, instructions = run(builder, places[0], values)
    found = data[places[-1] - IMAGE_ADDRESS :][: values.size].view(np.int8)
    np.testing.assert_array_equal(found.reshape(values.shape), values + layers)
    assert max(order(instructions).fullest.values()) <= TOKENS_IN_FLIGHT


def test_micro_ops_are_loaded_once_while_there_is_room():
    image = Image()
    x, y = (image.reserve(ELEMENTS * SIZE, SIZE) for _ in range(2))
    builder = Builder(DEFAULT, image)
    copies(builder, x, y, True)
    first = len(builder.uops)
    copies(builder, x, y, True)
    assert first == len(builder.uops) == 2 * ELEMENTS - 1
