"""What layers on VTA read: tensors times weights over all their channels.

conv2d                      its weights, of groups over all channels
dense on rows of a matrix   1 x 1 weights
dense on an image in rows   weights of the image's size: nothing is moved
d times every channel       d on the diagonal
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax

from qcompile.ops.contractions import CONV2D, DENSE
from qcompile.passes.facts import array_of
from qcompile.passes.power_of_two_weights import MAX_FACTOR, MAX_SHIFT
from qcompile.passes.rewriter import dtype_of, operator_name
from qcompile.passes.vta_graph import VtaGraph
from qcompile.targets.vta.layers import Integers, Pads, Source


@dataclass(frozen=True, eq=False)
class Product:
    """The sums of a convolution or product: its variable, where it reads, weights and bias."""

    var: relax.Var
    data: relax.Var
    source: Source
    bias: Integers
    layer: str


def product_of(graph: VtaGraph, value: relax.Expr) -> Product | None:
    call = graph.call_of(value, CONV2D, DENSE)
    data = None if call is None else graph.codes(call.args[0])
    if call is None or data is None or dtype_of(value) != "int32":
        return None
    weights, bias = (array_of(argument).astype("int64") for argument in call.args[1:])
    zero, geometry = int(call.attrs["zero_point"]), dict[str, Any]()
    if operator_name(call) == CONV2D:
        weights = _expanded(weights, int(call.attrs["groups"]))
        geometry = {"strides": pair(call, "strides"), "dilation": pair(call, "dilation")}
        geometry |= {"padding": pads(call)}
    elif (image := graph.flattened(data)) is not None:
        data, extents, places = image
        turned = np.empty_like(weights)
        turned[:, places] = weights
        weights = turned.reshape(len(weights), *extents)
    else:
        weights = weights[:, None, None, :]
    tensor = graph.tensor(data)
    source = Source(tensor=tensor.name, weights=weights, zero=zero - tensor.offset, **geometry)
    return Product(value, data, source, bias, str(call.attrs["layer"]))


def _expanded(weights: Integers, groups: int) -> Integers:
    """(O, KH, KW, C) weights of groups over all channels."""
    outputs, kh, kw, depth = weights.shape
    if groups == 1:
        return weights
    wide = np.zeros((outputs, kh, kw, groups, depth), "int64")
    wide[np.arange(outputs), :, :, np.arange(outputs) // (outputs // groups)] = weights
    return wide.reshape(outputs, kh, kw, groups * depth)


def scaled(graph: VtaGraph, data: relax.Var, factor: int, zero: int) -> Source:
    """Every channel of a tensor times `factor`."""
    tensor = graph.tensor(data)
    weights = alone(factor, tensor.shape[-1], (1, 1))
    return Source(tensor=tensor.name, weights=weights, zero=zero - tensor.offset)


def alone(factor: int, channels: int, kernel: tuple[int, int]) -> Integers:
    """Weights (C, KH, KW, C) of sums of windows, channel by channel."""
    return np.broadcast_to(
        factor * np.eye(channels, dtype="int64")[:, None, None, :],
        (channels, *kernel, channels),
    )


def with_weights(source: Source, weights: Integers) -> Source:
    return Source(
        source.tensor, weights, source.strides, source.padding, source.dilation, source.zero
    )


def dyadic(scales: NDArray[np.float64]) -> tuple[list[int], int] | None:
    """Integers d up to MAX_FACTOR and the smallest shift s with scales = d 2^-s, exactly."""
    values = scales.reshape(-1)
    for shift in range(MAX_SHIFT + 1):
        factors = values * 2.0**shift
        if (factors == np.rint(factors)).all():
            small = np.abs(factors).max(initial=0) <= MAX_FACTOR and values.size == scales.size
            return ([int(factor) for factor in factors], shift) if small else None
    return None


def largest(graph: VtaGraph, product: Product) -> int:
    """The largest |stored value - zero| of the data."""
    tensor = graph.tensor(product.data)
    return max(abs(tensor.low - product.source.zero), abs(tensor.high - product.source.zero))


def pair(call: tvm.ir.Call, key: str) -> tuple[int, int]:
    first, second = (int(value) for value in call.attrs[key])
    return first, second


def pads(call: tvm.ir.Call) -> Pads:
    top, left, bottom, right = (int(value) for value in call.attrs["padding"])
    return top, left, bottom, right
