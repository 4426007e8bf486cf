"""Gradients by the inputs of nodes: grad(node's attributes, inputs, result, g) for each input.

g is the gradient by the node's result, of its shape.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx

from qcompile.errors import Unsupported
from qcompile.frontend.validate import describe
from qcompile.quantizer.grid import Array
from qcompile.quantizer.layers import Layer
from qcompile.quantizer.operators import attributes_of
from qcompile.quantizer.windows import Windows, scatter

Attributes = dict[str, Any]
Gradient = Callable[[Attributes, Sequence[Array], Array, Array], list[Array]]


def expect_differentiable(node: onnx.NodeProto) -> None:
    """Raise Unsupported for nodes without a gradient here."""
    if node.op_type not in GRADIENTS:
        known = ", ".join(("Conv", "Gemm", "MatMul", *sorted(GRADIENTS)))
        raise Unsupported(
            f"{describe(node)}: no gradient of {node.op_type} is known, so no calibration data can "
            f"be made from BatchNormalization statistics; known are {known} (with constant "
            "weights). Calibration data would work"
        )


def node_gradients(
    node: onnx.NodeProto, inputs: Sequence[Array], result: Array, g: Array
) -> list[Array]:
    """By the node's first inputs."""
    found = GRADIENTS[node.op_type](attributes_of(node), inputs, result, g)
    return [_unbroadcast(gradient, x.shape) for gradient, x in zip(found, inputs, strict=False)]


def layer_gradient(layer: Layer, x: Array, g: Array) -> Array:
    """By the layer's input x."""
    weights = layer.weights.reshape(layer.groups, -1, layer.weights.shape[1])
    by_group = layer.flat(g).reshape(layer.groups, weights.shape[1], -1)
    found = np.matmul(weights.swapaxes(1, 2), by_group)
    if layer.node.op_type != "Conv":
        return np.ascontiguousarray(found[0].T).reshape(x.shape)
    windows = Windows.of(attributes_of(layer.node), layer.kernel, x.shape[2:])
    places, counts = int(np.prod(layer.kernel)), windows.counts(x.shape[2:])
    by_place = found.reshape(x.shape[1], places, len(x), *counts)
    return scatter((by_place[:, k].swapaxes(0, 1) for k in range(places)), windows, x.shape)


def _unbroadcast(g: Array, shape: tuple[int, ...]) -> Array:
    """The sum over what an elementwise operator repeated."""
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    axes = tuple(k for k, extent in enumerate(shape) if extent == 1 and g.shape[k] != 1)
    return np.asarray(g.sum(axis=axes, keepdims=True)) if axes else np.asarray(g)


def _normalized(attributes: Attributes, inputs: Sequence[Array], y: Array, g: Array) -> list[Array]:
    x, gamma, variance = inputs[0], inputs[1], inputs[4]
    factor = gamma / np.sqrt(variance + np.float32(attributes.get("epsilon", 1e-5)))
    return [g * factor.reshape(-1, *(1,) * (x.ndim - 2))]


def _max_pool(attributes: Attributes, inputs: Sequence[Array], y: Array, g: Array) -> list[Array]:
    x = inputs[0]
    windows = Windows.of(attributes, tuple(attributes["kernel_shape"]), x.shape[2:])
    left = np.ones(y.shape, bool)
    parts = []
    for view in windows.views(x, -np.inf):
        first = left & (view == y)
        left &= ~first
        parts.append(first * g)
    return [scatter(parts, windows, x.shape)]


def _average_pool(
    attributes: Attributes, inputs: Sequence[Array], y: Array, g: Array
) -> list[Array]:
    x = inputs[0]
    windows = Windows.of(attributes, tuple(attributes["kernel_shape"]), x.shape[2:])
    count = np.full((1, 1, 1), np.prod(windows.kernel), "float32")
    if not attributes.get("count_include_pad", 0):
        ones = np.ones((1, 1, *x.shape[2:]), x.dtype)
        count = np.sum(list(windows.views(ones, 0.0)), axis=0)
    return [scatter([g / count] * int(np.prod(windows.kernel)), windows, x.shape)]


def _global_average_pool(
    attributes: Attributes, inputs: Sequence[Array], y: Array, g: Array
) -> list[Array]:
    x = inputs[0]
    return [np.broadcast_to(g / np.float32(np.prod(x.shape[2:])), x.shape)]


def _concat(attributes: Attributes, inputs: Sequence[Array], y: Array, g: Array) -> list[Array]:
    axis = int(attributes["axis"])
    ends = np.cumsum([x.shape[axis] for x in inputs])[:-1]
    return list(np.split(g, ends, axis=axis))


def _transpose(attributes: Attributes, inputs: Sequence[Array], y: Array, g: Array) -> list[Array]:
    order = attributes.get("perm", range(g.ndim)[::-1])
    return [g.transpose(np.argsort(order))]


def _clip(attributes: Attributes, inputs: Sequence[Array], y: Array, g: Array) -> list[Array]:
    return [g * (inputs[0] == y)]


def _moved(attributes: Attributes, inputs: Sequence[Array], y: Array, g: Array) -> list[Array]:
    return [g.reshape(inputs[0].shape)]


GRADIENTS: dict[str, Gradient] = {
    "Add": lambda attributes, inputs, y, g: [g, g],
    "AveragePool": _average_pool,
    "BatchNormalization": _normalized,
    "Clip": _clip,
    "Concat": _concat,
    "Flatten": _moved,
    "GlobalAveragePool": _global_average_pool,
    "Identity": _moved,
    "LeakyRelu": lambda attributes, inputs, y, g: [
        np.where(inputs[0] > 0, g, g * np.float32(attributes.get("alpha", 0.01)))
    ],
    "MaxPool": _max_pool,
    "Mul": lambda attributes, inputs, y, g: [g * inputs[1], g * inputs[0]],
    "Relu": lambda attributes, inputs, y, g: [g * (y > 0)],
    "Reshape": _moved,
    "Sigmoid": lambda attributes, inputs, y, g: [g * y * (1 - y)],
    "Squeeze": _moved,
    "Sub": lambda attributes, inputs, y, g: [g, -g],
    "Tanh": lambda attributes, inputs, y, g: [g * (1 - y * y)],
    "Transpose": _transpose,
    "Unsqueeze": _moved,
}
