"""Scalars in bytes: the examples of the specification, and the interpreter's plain reading."""

import numpy as np
import pytest
from vta_interpreter import scalars

from qcompile.targets.vta.elements import pack, unpack


@pytest.mark.parametrize(
    ("values", "width", "data"),
    [
        ([1, -2, 7, -8], 4, "e187"),
        ([1, -1, 0, -2], 2, "8d"),
        ([0, -1, -1, 0, 0, 0, 0, -1], 1, "86"),
        ([1, -2], 16, "0100feff"),
    ],
)
def test_packs_the_examples_of_the_specification(values, width, data):
    assert pack(np.array([values]), width).tobytes().hex() == data
    raw = np.frombuffer(bytes.fromhex(data), np.uint8)[None]
    assert unpack(raw, width).tolist() == [values]


@pytest.mark.parametrize("width", [1, 2, 4, 8, 16, 32])
def test_reads_every_byte_as_the_definition_does(width):
    data = np.random.default_rng(width).integers(0, 256, (7, 16), dtype=np.uint8)
    found = unpack(data, width)
    assert found.tolist() == [scalars(bytes(row), width) for row in data]
    np.testing.assert_array_equal(pack(found, width), data)


def test_packing_keeps_the_low_bits():
    assert pack(np.array([[17, -9]]), 4).tolist() == [[0x71]]
