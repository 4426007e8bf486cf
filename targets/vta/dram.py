"""The memory image of a program: which of its bytes an instruction touches."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from qcompile.errors import OutOfRange
from qcompile.targets.vta.config import Buffer, Config
from qcompile.targets.vta.instructions import Load, Store

IMAGE_ADDRESS = 0x1000  # physical address of byte 0: address 0 is never valid, pages are 4 KiB
ADDRESS_SPACE = 1 << 32

Bytes = npt.NDArray[np.uint8]


def buffer_of(one: Load | Store) -> Buffer:
    return one.memory if isinstance(one, Load) else Buffer.OUT


def first_byte(config: Config, one: Load | Store) -> int:
    """The offset in the image of the first byte that is touched; negative below the image."""
    address = one.dram_base * config.element_bytes(buffer_of(one)) % ADDRESS_SPACE
    return address - IMAGE_ADDRESS


def end_byte(config: Config, one: Load | Store) -> int:
    """The offset behind the last byte that is touched."""
    elements = (one.y_size - 1) * one.x_stride + one.x_size
    return first_byte(config, one) + elements * config.element_bytes(buffer_of(one))


def rows(config: Config, one: Load | Store, image: Bytes, place: str) -> Bytes:
    """A view of the image, (y_size, bytes of a row): what the instruction touches."""
    begin, end = first_byte(config, one), end_byte(config, one)
    if begin < 0 or end > len(image):
        raise OutOfRange(
            f"{place}: touches physical addresses {begin + IMAGE_ADDRESS:#x} to "
            f"{end + IMAGE_ADDRESS:#x}; the image has {IMAGE_ADDRESS:#x} to "
            f"{len(image) + IMAGE_ADDRESS:#x}"
        )
    size = config.element_bytes(buffer_of(one))
    shape, strides = (one.y_size, one.x_size * size), (one.x_stride * size, 1)
    return np.lib.stride_tricks.as_strided(image[begin:end], shape, strides)


def padded_rows(config: Config, one: Load, image: Bytes, place: str) -> Bytes:
    """(elements, bytes): the block that a LOAD writes, zero where it is padded."""
    size = config.element_bytes(one.memory)
    y0, _, x0, _ = one.pads
    block = np.zeros((one.rows, one.columns * size), np.uint8)
    part = block[y0 : y0 + one.y_size, x0 * size : (x0 + one.x_size) * size]
    part[:] = rows(config, one, image, place)
    return block.reshape(-1, size)
