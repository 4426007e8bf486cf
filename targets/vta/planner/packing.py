"""NHWC arrays to VTA's blocked layout and back."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from qcompile.targets.vta.config import Config
from qcompile.targets.vta.elements import pack, unpack
from qcompile.targets.vta.layers import Integers
from qcompile.targets.vta.planner.digits import digits
from qcompile.targets.vta.program import Placement


def packed(stored: Integers, place: Placement, config: Config) -> npt.NDArray[np.uint8]:
    """The bytes of a tensor of codes. stored: (N, H, W, C); channels are filled up by zeros."""
    n, height, width, channels = stored.shape
    batch, block = config.batch, config.block_in
    fill = ((0, -n % batch), (0, 0), (0, 0), (0, -channels % block))
    blocked = np.pad(stored, fill).reshape(-1, batch, height, width, -(-channels // block), block)
    planes = digits(blocked.transpose(0, 4, 2, 3, 1, 5), config.inp_width, place.planes)
    return pack(planes.reshape(-1, batch * block), config.inp_width).reshape(-1)


def unpacked(data: npt.NDArray[np.uint8], place: Placement, config: Config) -> Integers:
    """(N, H, W, C) int32: the stored values or the sums of a tensor's bytes."""
    n, height, width, channels = place.shape
    batch, block, bits = config.batch, config.block_out, config.out_width
    blocks, images = -(-channels // block), -(-n // batch)
    scalars = unpack(data.reshape(-1, batch * block * bits // 8), bits).astype(np.int64)
    shape = (place.planes, images, blocks, height, width, batch, block)
    planes = scalars.reshape(shape).transpose(0, 1, 5, 3, 4, 2, 6)
    planes = planes.reshape(place.planes, images * batch, height, width, blocks * block)
    weights = 1 << (bits * np.arange(place.planes))
    total: Integers = np.tensordot(weights, planes % (1 << bits), 1)
    if place.layout == "codes":
        total = np.tensordot(weights, planes, 1)
    return (
        total[:n, ..., :channels]
        .astype(np.uint32 if place.layout == "sums" else np.int32)
        .view(np.int32)
    )
