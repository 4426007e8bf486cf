"""What is known of an integer contraction before it is lowered."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax

from qcompile.ops.contractions import CONV2D, DENSE
from qcompile.passes.lowering import Layer
from qcompile.passes.prepared import unsigned_zero
from qcompile.passes.rewriter import operator_name, shape_of


@dataclass(frozen=True)
class Geometry:
    """Where a convolution reads. pads: (top, left, bottom, right)."""

    pads: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    def pointwise(self, kernel: Sequence[int]) -> bool:
        """Whether every output reads the one pixel at its own place."""
        plain = tuple(self.strides) == (1, 1) and not any(self.pads) and self.groups == 1
        return plain and tuple(kernel) == (1, 1)


def geometry_of(call: tvm.ir.Call) -> Geometry:
    pads, strides, dilation = (
        tuple(int(value) for value in call.attrs[key]) for key in ("padding", "strides", "dilation")
    )
    return Geometry(pads, strides, dilation, int(call.attrs["groups"]))


def rows_alone(call: relax.Expr) -> bool:
    """Whether every output reads one row of data: dense, or a 1 x 1 convolution."""
    if operator_name(call) != CONV2D:
        return operator_name(call) == DENSE
    return geometry_of(call).pointwise(shape_of(call.args[1])[1:3])


def layer_of(call: tvm.ir.Call, kernel: str, weights: NDArray[np.int8]) -> Layer:
    """The list entry of a lowered qcompile.conv2d or qcompile.dense."""
    w_bits = int(call.attrs["w_bits"])
    return Layer(
        name=str(call.attrs["layer"]),
        op="Conv" if operator_name(call) == CONV2D else "MatMul",
        kernel=kernel,
        a_bits=int(call.attrs["a_bits"]),
        w_bits=w_bits,
        macs=prod(shape_of(call)) * weights[0].size,
        weight_bytes=-(-weights.size * w_bits // 8),
    )


def narrow(weights: NDArray[np.int8]) -> bool:
    """Whether no weight is -128: two products of such weights with int8 data fit 16 bits."""
    return int(weights.min(initial=0)) > -128


def unsigned_bias(
    call: tvm.ir.Call, weights: NDArray[np.int8], bias: NDArray[np.int32], offset: int
) -> NDArray[np.int32]:
    """The bias that takes the zero point of unsigned codes, less `offset`, off the sums."""
    zero = unsigned_zero(call.args[0], int(call.attrs["zero_point"])) - offset
    sums = weights.reshape(len(weights), -1).astype("int64").sum(axis=1)
    return (bias - zero * sums).astype("int32")
