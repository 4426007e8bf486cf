"""The contents of the on-chip buffers while a program runs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from qcompile.targets.vta.config import Buffer, Config
from qcompile.targets.vta.elements import pack, unpack

Bytes = npt.NDArray[np.uint8]

# A sum of K products is exact in a float whose mantissa holds K * 2^(w - 1) * 2^(a - 1).
FLOAT32_EXACT_BITS = 24
FLOAT64_EXACT_BITS = 53


class Scratchpads:
    """All buffers of one run but UOP.

    inp: (BATCH, depth, BLOCK_IN) and wgt: (depth, BLOCK_OUT, BLOCK_IN) are floats, which multiply
    fastest and hold these integers exactly. acc and out: (depth, BATCH, BLOCK_OUT), out the low
    bits of what ALU and GEMM wrote.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        product = config.inp_width + config.wgt_width - 2
        single = product + config.log_block <= FLOAT32_EXACT_BITS
        self.float = np.dtype(np.float32 if single else np.float64)
        exact = FLOAT32_EXACT_BITS if single else FLOAT64_EXACT_BITS
        # How many micro-ops may add up before their sum leaves the float.
        self.chunk = 1 << (exact - product - config.log_block)
        inputs, outputs, depth = config.block_in, config.block_out, config.depth
        self.inp = np.zeros((config.batch, depth(Buffer.INP), inputs), self.float)
        self.wgt = np.zeros((depth(Buffer.WGT), outputs, inputs), self.float)
        tile = (depth(Buffer.ACC), config.batch, outputs)
        self.acc = np.zeros(tile, f"int{config.acc_width}")
        self.out = np.zeros(tile, f"int{max(config.out_width, 8)}")

    def fill(self, buffer: Buffer, elements: slice, data: Bytes) -> None:
        """data: (elements, bytes)."""
        config = self.config
        scalars = unpack(data, config.width(buffer))
        if buffer == Buffer.INP:
            shape = (len(data), config.batch, config.block_in)
            self.inp[:, elements] = scalars.reshape(shape).transpose(1, 0, 2)
        elif buffer == Buffer.WGT:
            self.wgt[elements] = scalars.reshape(-1, config.block_out, config.block_in)
        else:
            self.acc[elements] = scalars.reshape(-1, config.batch, config.block_out)

    def stored(self, elements: slice) -> Bytes:
        """(elements, bytes): what a STORE of OUT elements writes."""
        values = self.out[elements]
        return pack(values.reshape(len(values), -1), self.config.out_width)
