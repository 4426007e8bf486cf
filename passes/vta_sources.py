"""Int32 sums of the integer form as sources of a layer on VTA, and their bias.

conv2d                         its weights, of groups over all channels
dense on rows of a matrix      1 x 1 weights
dense on an image in rows      weights of the image's size: nothing is moved
sum_pool2d                     1 for every channel alone, all over the window
multiply(astype(x) - z, d)     d for every channel alone
add of two of these            the sources of both
"""

from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax

from qcompile.ops.contractions import CONV2D, DENSE
from qcompile.ops.pool import SUM_POOL2D
from qcompile.passes.facts import array_of, constant
from qcompile.passes.power_of_two_weights import MAX_FACTOR, MAX_SHIFT
from qcompile.passes.rewriter import dtype_of, operator_name, shape_of
from qcompile.passes.vta_graph import VtaGraph
from qcompile.targets.vta.layers import Integers, Pads, Source

MOST_EXPANDED = 2**24  # weights of groups and pools over all channels, nearly all of them 0
MULTIPLY, ADD, SUBTRACT = (f"relax.{name}" for name in ("multiply", "add", "subtract"))
CAST = "relax.astype"


@dataclass(frozen=True, eq=False)
class Summands:
    """What is summed: tensors and how they are read, the bias, the variables on the way.

    products: the names of the layers of convolutions and products.
    """

    data: tuple[relax.Var, ...]
    sources: tuple[Source, ...]
    bias: Integers
    covers: tuple[relax.Var, ...]
    products: tuple[str, ...]

    def times(self, factors: Integers) -> "Summands":
        """The same, the channels multiplied by (O,) integers."""
        spread = factors.reshape(-1, 1, 1, 1)
        sources = tuple(replace(s, weights=s.weights * spread) for s in self.sources)
        return replace(self, sources=sources, bias=self.bias * factors)

    def and_(self, other: "Summands") -> "Summands":
        return Summands(
            self.data + other.data,
            self.sources + other.sources,
            self.bias + other.bias,
            self.covers + other.covers,
            self.products + other.products,
        )


def summands(graph: VtaGraph, value: relax.Expr) -> Summands | None:
    """The sums behind an int32 variable that is read once; None where VTA cannot compute them."""
    if not isinstance(value, relax.Var) or dtype_of(value) != "int32":
        return None
    if not graph.read_once(value):
        return None
    call = graph.call_of(value, ADD)
    if call is None:
        return product(graph, value) or _pool(graph, value) or _scaled(graph, value)
    if any(shape_of(argument) != shape_of(value) for argument in call.args):
        return None
    parts = [summands(graph, argument) for argument in call.args]
    found = [part for part in parts if part is not None]
    if len(found) < len(parts):
        return None
    whole = reduce(Summands.and_, found)
    return replace(whole, covers=(*whole.covers, value))


def product(graph: VtaGraph, value: relax.Var) -> Summands | None:
    """The sums of a convolution or a product with constant weights."""
    call = graph.call_of(value, CONV2D, DENSE)
    data = None if call is None else graph.codes(call.args[0])
    if call is None or data is None:
        return None
    weights, bias = (array_of(argument).astype("int64") for argument in call.args[1:])
    geometry = dict[str, Any]()
    if operator_name(call) == CONV2D:
        groups = int(call.attrs["groups"])
        if groups > 1 and weights.size * groups > MOST_EXPANDED:
            return None
        weights = _expanded(weights, groups)
        geometry = {"strides": _pair(call, "strides"), "dilation": _pair(call, "dilation")}
        geometry |= {"padding": _pads(call)}
    elif (image := graph.flattened(data)) is not None:
        data, extents, places = image
        turned = np.empty_like(weights)
        turned[:, places] = weights
        weights = turned.reshape(len(weights), *extents)
    else:
        weights = weights[:, None, None, :]
    source = _source(graph, data, weights, int(call.attrs["zero_point"]), **geometry)
    return Summands((data,), (source,), bias, (value,), (str(call.attrs["layer"]),))


def codes_alone(graph: VtaGraph, data: relax.Var, zero: int) -> Summands:
    """Codes less their zero point, every channel alone."""
    channels = shape_of(data)[-1]
    source = _source(graph, data, _alone(channels, (1, 1)), zero)
    return Summands((data,), (source,), np.zeros(channels, "int64"), (), ())


def _pool(graph: VtaGraph, value: relax.Var) -> Summands | None:
    call = graph.call_of(value, SUM_POOL2D)
    data = None if call is None else graph.codes(call.args[0])
    if call is None or data is None:
        return None
    channels, (height, width) = shape_of(data)[-1], _pair(call, "kernel")
    if channels**2 * height * width > MOST_EXPANDED:
        return None
    source = _source(
        graph,
        data,
        _alone(channels, (height, width)),
        int(call.attrs["zero_point"]),
        strides=_pair(call, "strides"),
        padding=_pads(call),
        dilation=_pair(call, "dilation"),
    )
    return Summands((data,), (source,), np.zeros(channels, "int64"), (value,), ())


def _scaled(graph: VtaGraph, value: relax.Var) -> Summands | None:
    """The product of codes, less a constant, and constants along the channels."""
    call = graph.call_of(value, MULTIPLY)
    factors = None if call is None else constant(call.args[1])
    if call is None or factors is None or factors.size not in (1, shape_of(value)[-1]):
        return None
    covers, inner, zero = [value], call.args[0], 0
    less = graph.call_of(inner, SUBTRACT)
    if less is not None:
        centre = constant(less.args[1])
        if centre is None or centre.size != 1 or not graph.read_once(inner):
            return None
        covers.append(inner)
        inner, zero = less.args[0], int(centre.reshape(-1)[0])
    cast = graph.call_of(inner, CAST)
    data = None if cast is None else graph.codes(cast.args[0])
    same = data is not None and shape_of(data) == shape_of(value)
    if data is None or not same or not graph.read_once(inner):
        return None
    spread = np.broadcast_to(factors.reshape(-1).astype("int64"), (shape_of(value)[-1],))
    parts = max(1, -(-int(np.abs(spread).max(initial=0)) // MAX_FACTOR))
    alone = codes_alone(graph, data, zero)
    # Beyond 8 bits the tensor is a source several times; digits would cost passes over the sums.
    shares = [(spread + k) // parts for k in range(parts)]
    found = reduce(Summands.and_, [alone.times(share) for share in shares])
    return replace(found, covers=(inner, *reversed(covers)))


def dyadic(scales: NDArray[np.float64], most: int) -> tuple[Integers, Integers] | None:
    """Integers d up to `most` and the smallest shifts s with scales = d 2^-s, exactly."""
    for_all = scales[:, None] * 2.0 ** np.arange(MAX_SHIFT + 1)
    whole = (for_all == np.rint(for_all)) & (np.abs(for_all) <= most)
    if not whole.any(axis=1).all():
        return None
    shifts = whole.argmax(axis=1)
    factors = np.take_along_axis(for_all, shifts[:, None], 1)[:, 0]
    return factors.astype("int64"), shifts


def _source(
    graph: VtaGraph, data: relax.Var, weights: Integers, zero: int, **geometry: Any
) -> Source:
    tensor = graph.tensor(data)
    return Source(tensor=tensor.name, weights=weights, zero=zero - tensor.offset, **geometry)


def _expanded(weights: Integers, groups: int) -> Integers:
    """(O, KH, KW, C) weights of groups over all channels."""
    outputs, kh, kw, depth = weights.shape
    if groups == 1:
        return weights
    wide = np.zeros((outputs, kh, kw, groups, depth), "int64")
    wide[np.arange(outputs), :, :, np.arange(outputs) // (outputs // groups)] = weights
    return wide.reshape(outputs, kh, kw, groups * depth)


def _alone(channels: int, kernel: tuple[int, int]) -> Integers:
    """Weights (C, KH, KW, C) of sums of windows, channel by channel."""
    diagonal = np.eye(channels, dtype="int64")[:, None, None, :]
    return np.broadcast_to(diagonal, (channels, *kernel, channels))


def _pair(call: tvm.ir.Call, key: str) -> tuple[int, int]:
    first, second = (int(value) for value in call.attrs[key])
    return first, second


def _pads(call: tvm.ir.Call) -> Pads:
    top, left, bottom, right = (int(value) for value in call.attrs["padding"])
    return top, left, bottom, right
