"""Sums at the limit of what the simulator's floats hold."""

from dataclasses import replace

import numpy as np
import pytest

from qcompile.targets.vta.config import DEFAULT, Buffer
from qcompile.targets.vta.gemm_unit import multiply
from qcompile.targets.vta.instructions import Gemm
from qcompile.targets.vta.scratchpads import Scratchpads

WIDE = replace(DEFAULT, log_inp_width=4, log_wgt_width=4, log_acc_buff_size=16)


@pytest.mark.parametrize("config", [DEFAULT, WIDE])
def test_the_largest_products_add_up_exactly(config):
    """All operands are the most negative ones but one, which makes the sum odd."""
    pads = Scratchpads(config)
    low = {buffer: -(1 << (config.width(buffer) - 1)) for buffer in (Buffer.INP, Buffer.WGT)}
    pads.inp[:] = low[Buffer.INP]
    pads.wgt[:] = low[Buffer.WGT]
    pads.inp[0, 77, 3], pads.wgt[77, 5, 3] = -1, -1
    count = 500
    uops = np.stack([np.zeros(count, int), np.arange(count), np.arange(count)], axis=1)

    multiply(pads, Gemm((0, count), (1, 1)), uops)

    product = low[Buffer.INP] * low[Buffer.WGT]
    total = count * config.block_in * product - product + 1
    assert pads.acc[0, 0, 5] == (total + 2**31) % 2**32 - 2**31
