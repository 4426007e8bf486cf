"""Tensors in VTA's layout, against NumPy, and as scheduled kernels."""

import numpy as np
import pytest
import tvm
from tvm import te

from qcompile.schedules import schedule
from qcompile.schedules.blocked import (
    Blocks,
    Windows,
    blocked,
    codes_of_blocks,
    gathered,
    sums_of_blocks,
)
from qcompile.targets import host_target

RNG = np.random.default_rng(5)
SHAPES = [(1, 3, 4, 16), (1, 2, 5, 35), (3, 1, 1, 20), (2, 2, 2, 3)]
# BATCH, BLOCK, bits of a scalar.
CONFIGURATIONS = [(1, 16, 8), (2, 16, 4), (1, 32, 2), (1, 64, 1)]


def reference(stored, planes, batch, block, width, signed=True):
    """The bytes, digit by digit and bit by bit."""
    n, h, w, c = stored.shape
    padded = np.zeros((-(-n // batch) * batch, h, w, -(-c // block) * block), "int64")
    padded[:n, ..., :c] = stored
    order = padded.reshape(-1, batch, h, w, padded.shape[3] // block, block)
    rest, found = order.transpose(0, 4, 2, 3, 1, 5), []
    for _ in range(planes):
        digit = rest % (1 << width)
        if signed:
            digit = np.where(digit >> (width - 1), digit - (1 << width), digit)
        found.append(digit)
        rest = (rest - digit) >> width
    bits = (np.stack(found)[..., None] >> np.arange(width)) & 1
    return np.packbits(bits.reshape(*bits.shape[:6], -1).astype("uint8"), -1, bitorder="little")


def compiled(compute, *arrays):
    """What a TE compute makes of the arrays, as the schedules have it."""
    inputs = [te.placeholder(array.shape, str(array.dtype)) for array in arrays]
    output = compute(*inputs)
    func = schedule(te.create_prim_func([*inputs, output]), host_target())
    kernel = tvm.compile(func, target=host_target().tvm_target())
    shape = tuple(int(extent) for extent in output.shape)
    result = tvm.runtime.tensor(np.zeros(shape, str(output.dtype)))
    kernel(*(tvm.runtime.tensor(array) for array in arrays), result)
    return result.numpy()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("batch", "block", "width"), CONFIGURATIONS)
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_codes_there_and_back(shape, batch, block, width, dtype):
    least, most = (-128, 127) if dtype == "int8" else (0, 255)
    offset = 0 if dtype == "int8" else 128
    planes = -(-8 // width)
    if width == 1:  # digits of one bit make no numbers above zero
        least, most, offset, planes = (-1, 0, 0, 1) if dtype == "int8" else (0, 1, 1, 1)
    codes = RNG.integers(least, most + 1, shape).astype(dtype)
    if width > 1:
        # A digit more than bits would take: 127 is 8 in the highest of signed ones.
        planes += 1 if width < 8 else 0
    blocks = Blocks(planes, batch, block, width)
    expected = reference(codes.astype("int64") - offset, planes, batch, block, width)
    found = compiled(lambda x: blocked(x, shape, blocks, offset), codes)
    np.testing.assert_array_equal(found, expected)
    back = compiled(lambda x: codes_of_blocks(x, shape, shape, blocks, offset, dtype), found)
    np.testing.assert_array_equal(back, codes)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("batch", "block", "width"), CONFIGURATIONS)
def test_sums(shape, batch, block, width):
    sums = RNG.integers(-(2**31), 2**31, shape)
    blocks = Blocks(32 // width, batch, block, width)
    data = reference(sums, 32 // width, batch, block, width, signed=False)
    found = compiled(lambda x: sums_of_blocks(x, shape, shape, blocks), data)
    np.testing.assert_array_equal(found, sums)


@pytest.mark.parametrize(
    ("rows", "columns", "strides", "dilation", "padding"),
    [
        (1, 3, (1, 1), (1, 1), (0, 1)),
        (1, 7, (1, 2), (1, 1), (0, 3)),
        (3, 2, (2, 3), (2, 3), (1, 2)),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_windows_as_channels(rows, columns, strides, dilation, padding, dtype):
    least, offset, zero = (-128, 0, -5) if dtype == "int8" else (0, 128, 9)
    x = RNG.integers(least, least + 256, (2, 8, 9, 3)).astype(dtype)
    (top, left), outputs = padding, (8 if rows == 1 else 3, 4)
    border = ((0, 0), (top, 9), (left, 9), (0, 0))
    padded = np.pad(x, border, constant_values=zero)
    parts = [
        padded[:, u * dilation[0] :, v * dilation[1] :][:, :: strides[0], :: strides[1]]
        for u in range(rows)
        for v in range(columns)
    ]
    image = np.concatenate([part[:, : outputs[0], : outputs[1]] for part in parts], axis=3)
    windows = Windows((rows, columns), strides, dilation, padding, zero)
    blocks = Blocks(1, 1, 16, 8)
    found = compiled(lambda t: gathered(t, image.shape, windows, blocks, offset), x)
    expected = reference(image.astype("int64") - offset, 1, 1, 16, 8)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("inner", [(2, 18), (2, 3, 6), (1, 2, 1, 18), (36,)])
def test_other_shapes_of_the_same_numbers(inner):
    shape, blocks = (2, 1, 1, 18), Blocks(1, 1, 16, 8)
    codes = RNG.integers(0, 256, inner).astype("uint8")
    expected = reference(codes.reshape(shape).astype("int64") - 128, 1, 1, 16, 8)
    found = compiled(lambda x: blocked(x, shape, blocks, 128), codes)
    np.testing.assert_array_equal(found, expected)
    back = compiled(lambda x: codes_of_blocks(x, shape, inner, blocks, 128, "uint8"), found)
    np.testing.assert_array_equal(back, codes)
