"""Layers of the integer form as VTA computes them (qcompile.targets.vta.layers).

    requantize(conv2d or dense, 2^-s)            -> Sums
    threshold(conv2d or dense, T), of two codes  -> Sums whose clamp makes the codes
    conv2d or dense, anything else reads it      -> Sums that leave the chip
    requantize(sum_pool2d(x) or x, d 2^-s)       -> Sums with the weight d in every channel alone
    add(a, b), scales d_a 2^-s and d_b 2^-s      -> Sums of two sources, the same
    max_pool2d(x)                                -> MaxPool

Scales are what power_of_two.py makes of them. Everything else is the host's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax

from qcompile.ops.pool import SUM_POOL2D
from qcompile.ops.requantize import ADD, REQUANTIZE
from qcompile.ops.threshold import THRESHOLD
from qcompile.passes.facts import array_of, constant
from qcompile.passes.power_of_two import HALF_CEIL
from qcompile.passes.power_of_two_weights import MAX_SHIFT
from qcompile.passes.rewriter import operator_name, shape_of
from qcompile.passes.vta_graph import VtaGraph
from qcompile.passes.vta_sources import (
    Product,
    alone,
    dyadic,
    largest,
    pads,
    pair,
    product_of,
    scaled,
    with_weights,
)
from qcompile.passes.windows import windows_meet_image
from qcompile.targets.vta.layers import Integers, Layer, MaxPool, Source, Sums

MAX_POOL = "relax.nn.max_pool2d"
FAR = 2**28  # from a threshold: sums of this magnitude always or never pass it
Pads = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class VtaLayer:
    """A layer, the variables that it computes, the last of them its output, and those it reads."""

    layer: Layer
    covers: tuple[relax.Var, ...]
    inputs: tuple[relax.Var, ...]

    @property
    def output(self) -> relax.Var:
        return self.covers[-1]


def vta_layers(graph: VtaGraph) -> list[VtaLayer]:
    """Everything in the function that VTA can compute, in its order."""
    rules: dict[str, Callable[[VtaGraph, relax.Var, tvm.ir.Call], VtaLayer | None]] = {
        REQUANTIZE: _requantize,
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
    scale = constant(call.args[1])
    if scale is None or len(call.args) > 2 or str(call.attrs["rounding"]) != HALF_CEIL:
        return None
    product = product_of(graph, call.args[0])
    if product is not None:
        return _shifted(graph, var, call, product, scale)
    found = dyadic(scale.astype("float64"))
    if found is None:
        return None
    (factor,), shift = found
    input_zero = int(call.attrs["input_zero"])
    pool = graph.call_of(call.args[0], SUM_POOL2D)
    if pool is not None:
        data = graph.codes(pool.args[0])
        if data is None or input_zero or not graph.read_once(call.args[0]):
            return None
        kernel, strides, dilation = (pair(pool, key) for key in ("kernel", "strides", "dilation"))
        source = Source(
            tensor=graph.name(data),
            weights=alone(factor, shape_of(data)[-1], kernel),
            strides=strides,
            padding=pads(pool),
            dilation=dilation,
            zero=int(pool.attrs["zero_point"]) - graph.tensor(data).offset,
        )
        return _codes_layer(graph, (call.args[0], var), call, [(data, source)], shift)
    data = graph.codes(call.args[0])
    if data is None:
        return None
    source = scaled(graph, data, factor, input_zero)
    return _codes_layer(graph, (var,), call, [(data, source)], shift)


def _shifted(
    graph: VtaGraph, var: relax.Var, call: tvm.ir.Call, product: Product, scale: NDArray[Any]
) -> VtaLayer | None:
    """The codes of a product whose scales are powers of two."""
    shifts = -np.log2(scale.reshape(-1).astype("float64"))
    powers = (shifts == np.rint(shifts)).all() and shifts.min() >= 0 and shifts.max() <= MAX_SHIFT
    along = scale.size in (1, scale.shape[-1] if scale.ndim else 1)
    if not powers or not along or not graph.read_once(product.var):
        return None
    shift = int(shifts[0]) if len(set(shifts)) == 1 else shifts.astype("int64")
    bias = product.bias - (int(call.attrs["input_zero"]))
    sources = [(product.data, product.source)]
    covers = (product.var, var)
    return _codes_layer(graph, covers, call, sources, shift, bias, name=product.layer)


def _codes_layer(
    graph: VtaGraph,
    covers: tuple[relax.Var, ...],
    call: tvm.ir.Call,
    sources: list[tuple[relax.Var, Source]],
    shift: int | Integers,
    bias: Integers | None = None,
    name: str = "",
) -> VtaLayer:
    """Sums that become the codes which a requantize or add tells of."""
    output = graph.tensor(covers[-1])
    zero, low, high = (int(call.attrs[key]) for key in ("zero_point", "low", "high"))
    layer = Sums(
        name=name or graph.name(covers[-1]),
        sources=tuple(source for _, source in sources),
        bias=np.zeros(output.shape[-1], "int64") if bias is None else bias,
        shift=shift,
        low=low - output.offset,
        high=high - output.offset,
        output=output,
        zero_out=zero - output.offset,
    )
    return VtaLayer(layer, covers, tuple(data for data, _ in sources))


def _threshold(graph: VtaGraph, var: relax.Var, call: tvm.ir.Call) -> VtaLayer | None:
    """x >= T is clamp(x - T + 1, 0, 1), x < T is clamp(T - x, 0, 1).

    Codes with a step of 2 take their double less 1, whose value is never 0: clamp(2 (x - T) + 1).
    """
    product, thresholds = product_of(graph, call.args[0]), constant(call.args[1])
    low, step = (int(call.attrs[key]) for key in ("low", "step"))
    if product is None or thresholds is None or len(thresholds) != 1 or step not in (1, 2):
        return None
    if not graph.read_once(product.var):
        return None
    weights = product.source.weights.astype("int64")
    magnitude = np.abs(weights).reshape(len(weights), -1).sum(axis=1) * largest(graph, product)
    if magnitude.max(initial=0) > FAR:
        return None
    flip = array_of(call.args[2]) < 0 if len(call.args) > 2 else np.zeros(len(weights), bool)
    distance = step * np.clip(product.bias - thresholds[0].astype("int64"), -FAR, FAR)
    sign = np.where(flip, -step, step).reshape(-1, 1, 1, 1)
    output = graph.tensor(var)
    layer = Sums(
        name=product.layer,
        sources=(with_weights(product.source, weights * sign),),
        bias=np.where(flip, 1 - step - distance, 1 + distance),
        shift=0,
        low=low - output.offset,
        high=low + step - output.offset,
        output=output,
        zero_out=low + step - 1 - output.offset,
    )
    return VtaLayer(layer, (product.var, var), (product.data,))


def _add(graph: VtaGraph, var: relax.Var, call: tvm.ir.Call) -> VtaLayer | None:
    operands = [graph.codes(argument) for argument in call.args]
    scales = np.array([float(call.attrs[key]) for key in ("scale_a", "scale_b")])
    found = dyadic(scales)
    if found is None or str(call.attrs["rounding"]) != HALF_CEIL:
        return None
    factors, shift = found
    sources = []
    for data, factor, key in zip(operands, factors, ("zero_a", "zero_b"), strict=True):
        if data is None or shape_of(data) != shape_of(var):
            return None
        sources.append((data, scaled(graph, data, factor, int(call.attrs[key]))))
    return _codes_layer(graph, (var,), call, sources, shift)


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
    product = product_of(graph, var)
    if product is None:
        return None
    output = graph.tensor(var)
    layer = Sums(
        name=product.layer,
        sources=(product.source,),
        bias=product.bias,
        shift=0,
        low=output.low,
        high=output.high,
        output=output,
    )
    return VtaLayer(layer, (var,), (product.data,))
