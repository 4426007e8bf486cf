"""Tensors and weights as the GEMM unit takes them: in blocks and, where wide, in digits."""

from __future__ import annotations

import numpy as np

from qcompile.errors import NotRepresentable
from qcompile.targets.vta.config import Config
from qcompile.targets.vta.layers import Integers, Segment, Source, Sums, VtaTensor
from qcompile.targets.vta.planner.digits import digit_count, wrapping_digits
from qcompile.targets.vta.planner.problem import Operand, pattern_of, pattern_text


def planes_of(tensor: VtaTensor, config: Config) -> int:
    """Arrays of INP_WIDTH bits that a tensor of codes has. Raises NotRepresentable."""
    try:
        return digit_count(tensor.low, tensor.high, config.inp_width)
    except NotRepresentable as error:
        raise NotRepresentable(f"VTA tensor '{tensor.name}': {error}") from error


def weights_of(source: Source, config: Config) -> Integers:
    """(digits, O blocks, KH, KW, C blocks, block, block) of weights, channels filled up by 0."""
    block, (outputs, kh, kw, inputs) = config.block_out, source.weights.shape
    fill = ((0, -outputs % block), (0, 0), (0, 0), (0, -inputs % block))
    padded = np.pad(source.weights.astype(np.int64), fill)
    shape = (-(-outputs // block), block, kh, kw, -(-inputs // block), block)
    blocks = padded.reshape(shape).transpose(0, 2, 3, 4, 1, 5)
    return wrapping_digits(blocks, config.wgt_width, config.acc_width).astype(np.int8)


def operand_of(
    source: Source, blocks: Integers, layer: Sums, segment: Segment, config: Config
) -> Operand:
    """The source as shapes. blocks: its weights as `weights_of` has them."""
    tensor = segment.tensor(source.tensor)
    pattern = pattern_of(blocks)
    return Operand(
        shape=tensor.shape[1:],
        kernel=(source.weights.shape[1], source.weights.shape[2]),
        strides=source.strides,
        padding=source.padding,
        dilation=source.dilation,
        tensor=[each.tensor for each in layer.sources].index(source.tensor),
        digits=len(pattern),
        planes=planes_of(tensor, config),
        pattern=pattern_text(pattern),
    )
