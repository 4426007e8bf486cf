"""The on-chip buffers while a program runs: their contents, and what of them was ever written."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from qcompile.errors import OutOfRange, UnwrittenRead
from qcompile.targets.vta.config import Buffer, Config

Values = npt.NDArray[Any]
Indices = npt.NDArray[np.int64]

# A product of K pairs is exact in a float whose mantissa holds K * 2^(w - 1) * 2^(a - 1).
FLOAT32_EXACT_BITS = 24
FLOAT64_EXACT_BITS = 53


class Scratchpads:
    """All buffers of one run.

    uop: (depth, 3) dst, src, wgt. inp: (BATCH, depth, BLOCK_IN) and wgt: (depth, BLOCK_OUT,
    BLOCK_IN) are floats, which multiply fastest and hold these integers exactly. acc and out:
    (depth, BATCH, BLOCK_OUT), out the low bits of what ALU and GEMM wrote.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        product = config.inp_width + config.wgt_width - 2
        single = product + config.log_block <= FLOAT32_EXACT_BITS
        self.float = np.dtype(np.float32 if single else np.float64)
        exact = FLOAT32_EXACT_BITS if single else FLOAT64_EXACT_BITS
        # How many micro-ops may add up before their sum leaves the float.
        self.chunk = 1 << (exact - product - config.log_block)
        depth = config.depth
        inputs, outputs = config.block_in, config.block_out
        self.uop = np.zeros((depth(Buffer.UOP), 3), np.int64)
        self.inp = np.zeros((config.batch, depth(Buffer.INP), inputs), self.float)
        self.wgt = np.zeros((depth(Buffer.WGT), outputs, inputs), self.float)
        tile = (depth(Buffer.ACC), config.batch, outputs)
        self.acc = np.zeros(tile, f"int{config.acc_width}")
        self.out = np.zeros(tile, f"int{max(config.out_width, 8)}")
        self.written = {buffer: np.zeros(depth(buffer), bool) for buffer in Buffer}

    def expect_inside(self, place: str, buffer: Buffer, low: int, high: int) -> None:
        """low, high: the first and the last element."""
        depth = self.config.depth(buffer)
        if low < 0 or high >= depth:
            raise OutOfRange(
                f"{place}: touches elements {low} to {high} of {buffer.name}; "
                f"it has 0 to {depth - 1}"
            )

    def expect_written(self, place: str, buffer: Buffer, elements: Indices | slice) -> None:
        written = self.written[buffer][elements]
        if not written.all():
            element = np.arange(len(self.written[buffer]))[elements][~written][0]
            stale = " by ALU or a GEMM that adds" if buffer == Buffer.OUT else ""
            raise UnwrittenRead(
                f"{place}: reads element {element} of {buffer.name}, "
                f"which was not written{stale} before"
            )
