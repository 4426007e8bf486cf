"""Layers of the integer form as VTA computes them (qcompile.targets.vta.layers).

    requantize(sums, d 2^-s)                 -> Sums, their weights times d
    requantize(x, d 2^-s)                    -> Sums, the same of codes
    shift_add(sums, b, g, d_1, d_2)          -> Sums of further terms
    add(a, b), scales d_a 2^-s and d_b 2^-s  -> Sums of two sources
    threshold(sums, T), of two codes         -> Sums whose clamp makes the codes
    conv2d or dense, anything else reads it  -> Sums that leave the chip
    max_pool2d(x)                            -> MaxPool

sums: vta_sources.py. Scales are what power_of_two.py and shift_add.py make of them. Everything else
is the host's.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import tvm
from tvm import relax

from qcompile.ops.requantize import ADD, REQUANTIZE
from qcompile.ops.shift_add import SHIFT_ADD
from qcompile.ops.threshold import THRESHOLD
from qcompile.passes.facts import array_of, constant
from qcompile.passes.power_of_two_terms import HALF_CEIL
from qcompile.passes.power_of_two_weights import MAX_FACTOR
from qcompile.passes.rewriter import operator_name, shape_of
from qcompile.passes.vta_graph import VtaGraph
from qcompile.passes.vta_sources import Summands, codes_alone, dyadic, product, summands
from qcompile.passes.windows import windows_meet_image
from qcompile.targets.vta.layers import Integers, Layer, MaxPool, Sums

MAX_POOL = "relax.nn.max_pool2d"
FAR = 2**28  # from a threshold: sums of this magnitude always or never pass it


@dataclass(frozen=True, eq=False)
class VtaLayer:
    """A layer, the variables that it computes, the last of them its output, and those it reads.

    products: the names of the convolutions and products in it.
    """

    layer: Layer
    covers: tuple[relax.Var, ...]
    inputs: tuple[relax.Var, ...]
    products: tuple[str, ...] = ()

    @property
    def output(self) -> relax.Var:
        return self.covers[-1]


def vta_layers(graph: VtaGraph) -> list[VtaLayer]:
    """Everything in the function that VTA can compute, in its order."""
    rules: dict[str, Callable[[VtaGraph, relax.Var, tvm.ir.Call], VtaLayer | None]] = {
        REQUANTIZE: _requantize,
        SHIFT_ADD: _shift_add,
        THRESHOLD: _threshold,
        ADD: _add,
        MAX_POOL: _max_pool,
    }
    found: dict[relax.Var, VtaLayer] = {}
    for var, value in graph.values.items():
        rule = rules.get(operator_name(value))
        layer = None if rule is None else rule(graph, var, value)
        if layer is not None:
            found[var] = layer
    covered = {var for layer in found.values() for var in layer.covers}
    for var in graph.values:
        if var not in covered and (layer := _sums(graph, var)) is not None:
            found[var] = layer
    return [found[var] for var in graph.values if var in found]


def _requantize(graph: VtaGraph, var: relax.Var, call: tvm.ir.Call) -> VtaLayer | None:
    data, scale = call.args[0], constant(call.args[1])
    channels = shape_of(var)[-1]
    if scale is None or len(call.args) > 2 or str(call.attrs["rounding"]) != HALF_CEIL:
        return None
    if scale.size != 1 and (scale.size != channels or scale.shape[-1] != channels):
        return None
    scales = np.broadcast_to(scale.reshape(-1).astype("float64"), (channels,))
    found, zero = dyadic(scales, MAX_FACTOR), int(call.attrs["input_zero"])
    codes = graph.codes(data)
    terms = summands(graph, data) if codes is None else codes_alone(graph, codes, zero)
    if found is None or terms is None or (codes is None and zero):
        return None
    factors, shifts = found
    return _codes_layer(graph, var, call, terms.times(factors), shifts)


def _shift_add(graph: VtaGraph, var: relax.Var, call: tvm.ir.Call) -> VtaLayer | None:
    parameters = [constant(argument) for argument in call.args[1:]]
    found, channels = summands(graph, call.args[0]), shape_of(var)[-1]
    if found is None or any(each is None or each.size not in (1, channels) for each in parameters):
        return None
    bias, shift, *terms = (
        np.broadcast_to(each.reshape(-1).astype("int64"), (channels,))
        for each in parameters
        if each is not None
    )
    lift = int(call.attrs["lift"])
    bias = (found.bias << lift) + bias
    # Layers without further terms round by themselves.
    made = _codes_layer(
        graph, var, call, replace(found, bias=bias if terms else bias - (1 << shift >> 1)), shift
    )
    assert isinstance(made.layer, Sums)
    return replace(made, layer=replace(made.layer, lift=lift, terms=tuple(map(_one_or_all, terms))))


def _add(graph: VtaGraph, var: relax.Var, call: tvm.ir.Call) -> VtaLayer | None:
    scales = np.array([float(call.attrs[key]) for key in ("scale_a", "scale_b")])
    found = dyadic(scales, MAX_FACTOR)
    if found is None or str(call.attrs["rounding"]) != HALF_CEIL:
        return None
    factors, shifts = found
    shift, channels = shifts.max(), shape_of(var)[-1]
    terms: Summands | None = None
    for data, factor, key in zip(call.args, factors << (shift - shifts), "ab", strict=True):
        codes = graph.codes(data)
        if codes is None or shape_of(codes) != shape_of(var):
            return None
        alone = codes_alone(graph, codes, int(call.attrs[f"zero_{key}"]))
        term = alone.times(np.full(channels, factor))
        terms = term if terms is None else terms.and_(term)
    assert terms is not None
    return _codes_layer(graph, var, call, terms, np.full(channels, shift))


def _codes_layer(
    graph: VtaGraph, var: relax.Var, call: tvm.ir.Call, terms: Summands, shifts: Integers
) -> VtaLayer:
    """Sums that become the codes which a requantize or add tells of."""
    output = graph.tensor(var)
    low, high = (int(call.attrs[key]) for key in ("low", "high"))
    zero = int(call.attrs["offset" if operator_name(call) == SHIFT_ADD else "zero_point"])
    layer = Sums(
        name=_name(graph, var, terms),
        sources=terms.sources,
        bias=terms.bias,
        shift=_one_or_all(shifts),
        low=low - output.offset,
        high=high - output.offset,
        output=output,
        zero_out=zero - output.offset,
    )
    return VtaLayer(layer, (*terms.covers, var), terms.data, terms.products)


def _one_or_all(values: Integers) -> int | Integers:
    """The value that all channels have, or those of each."""
    return int(values[0]) if (values == values[0]).all() else values


def _threshold(graph: VtaGraph, var: relax.Var, call: tvm.ir.Call) -> VtaLayer | None:
    """x >= T is clamp(x - T + 1, 0, 1), x < T is clamp(T - x, 0, 1).

    Codes with a step of 2 take their double less 1, whose value is never 0: clamp(2 (x - T) + 1).
    """
    terms, thresholds = summands(graph, call.args[0]), constant(call.args[1])
    low, step = (int(call.attrs[key]) for key in ("low", "step"))
    if terms is None or thresholds is None or len(thresholds) != 1 or step not in (1, 2):
        return None
    if _magnitude(graph, terms).max(initial=0) > FAR:
        return None
    channels = shape_of(var)[-1]
    flip = array_of(call.args[2]) < 0 if len(call.args) > 2 else np.zeros(channels, bool)
    distance = step * np.clip(terms.bias - thresholds[0].astype("int64"), -FAR, FAR)
    output = graph.tensor(var)
    layer = Sums(
        name=_name(graph, var, terms),
        sources=terms.times(np.where(flip, -step, step)).sources,
        bias=np.where(flip, 1 - step - distance, 1 + distance),
        shift=0,
        low=low - output.offset,
        high=low + step - output.offset,
        output=output,
        zero_out=low + step - 1 - output.offset,
    )
    return VtaLayer(layer, (*terms.covers, var), terms.data, terms.products)


def _magnitude(graph: VtaGraph, terms: Summands) -> Integers:
    """The largest |sum| of each channel, (O,), without the bias."""
    total = np.zeros(len(terms.bias), "int64")
    for data, source in zip(terms.data, terms.sources, strict=True):
        tensor = graph.tensor(data)
        largest = max(abs(tensor.low - source.zero), abs(tensor.high - source.zero))
        total += np.abs(source.weights).reshape(len(total), -1).sum(axis=1) * largest
    return total


def _max_pool(graph: VtaGraph, var: relax.Var, call: tvm.ir.Call) -> VtaLayer | None:
    data, attributes = graph.codes(call.args[0]), call.attrs
    plain = str(attributes.layout) == "NHWC" and all(int(d) == 1 for d in attributes.dilation)
    if data is None or not plain or not windows_meet_image(call):
        return None
    kernel = [int(extent) for extent in attributes.pool_size]
    strides = [int(stride) for stride in attributes.strides]
    top, left = (int(extent) for extent in attributes.padding[:2])
    ends = [
        # What the last window reaches beyond the image, whatever the model pads.
        max(0, (shape_of(var)[k + 1] - 1) * strides[k] + kernel[k] - shape_of(data)[k + 1] - start)
        for k, start in enumerate((top, left))
    ]
    layer = MaxPool(
        name=graph.name(var),
        tensor=graph.name(data),
        kernel=(kernel[0], kernel[1]),
        strides=(strides[0], strides[1]),
        padding=(top, left, ends[0], ends[1]),
        output=graph.tensor(var),
    )
    return VtaLayer(layer, (var,), (data,))


def _sums(graph: VtaGraph, var: relax.Var) -> VtaLayer | None:
    """The int32 sums of a layer, for the host."""
    terms = product(graph, var)
    if terms is None:
        return None
    output = graph.tensor(var)
    layer = Sums(
        name=_name(graph, var, terms),
        sources=terms.sources,
        bias=terms.bias,
        shift=0,
        low=output.low,
        high=output.high,
        output=output,
    )
    return VtaLayer(layer, (var,), terms.data, terms.products)


def _name(graph: VtaGraph, var: relax.Var, terms: Summands) -> str:
    """The names of the convolutions and products in it, else that of what it makes."""
    return " + ".join(terms.products) or graph.name(var)
