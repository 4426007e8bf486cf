"""Bring the channels between two layers to like ranges, which changes no result.

    B(f(A(x)))  ->  B'(f(A'(x)))    A' = A / s,  B' = B * s,  s > 0 for each channel between

f is made of operators with f(s x) = s f(x) that keep channels apart; only the pair reads what lies
between. s = sqrt(r_A / r_B), r the largest weights of the channel (Nagel et al. 2019, eq. 11), to
the nearest power of two: floats are then scaled without rounding.
"""

from dataclasses import replace

import numpy as np

from qcompile.quantizer.grid import Array
from qcompile.quantizer.layers import Layer
from qcompile.quantizer.network import Network

HOMOGENEOUS = ("Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "Identity")
ROUNDS = 4  # over the network: a layer in the middle has two neighbours


def equalize(network: Network) -> Network:
    """The same function with weights of more even ranges."""
    layers = dict(network.layers)
    pairs = [(a, b) for a in layers if (b := _partner(network, a)) is not None]
    for _ in range(ROUNDS):
        for a, b in pairs:
            layers[a], layers[b] = _even(layers[a], layers[b])
    return replace(network, layers=layers)


def _partner(network: Network, key: str) -> str | None:
    """The one layer that reads the layer's result by way of homogeneous operators, or None."""
    readers, value = network.readers(), network.layers[key].output
    while readers[value] == 1 and value not in network.outputs:
        node = next(node for node in network.nodes if value in node.input)
        layer = network.layer(node)
        if layer is not None:
            first = network.layers[key]
            same_axis = (layer.node.op_type == "Conv") == (first.node.op_type == "Conv")
            return node.output[0] if same_axis and _by_input(layer) is not None else None
        if node.op_type not in HOMOGENEOUS:
            return None
        value = node.output[0]
    return None


def _by_input(layer: Layer) -> Array | None:
    """The sizes of the weights by input channel, (C, ...), or None where groups mix them."""
    rows, depth = layer.weights.shape
    if layer.groups == 1:
        places = int(np.prod(layer.kernel)) if layer.kernel else 1
        by_channel = np.abs(layer.weights).reshape(rows, depth // places, places)
        return by_channel.max(axis=2).T
    if layer.groups == rows:
        return np.abs(layer.weights) if depth == int(np.prod(layer.kernel)) else None
    return None


def _even(a: Layer, b: Layer) -> tuple[Layer, Layer]:
    sizes = _by_input(b)
    assert sizes is not None
    first, second = np.abs(a.weights).max(axis=1), sizes.max(axis=1)
    usable = (first > 0) & (second > 0)
    ratio = np.where(usable, first / np.where(usable, second, 1), 1)
    s = np.exp2(np.rint(np.log2(np.where(usable, ratio, 1)) / 2)).astype("float32")
    scaled_a = a.with_weights(a.weights / s[:, None], a.bias / s)
    if b.groups > 1:
        return scaled_a, b.with_weights(b.weights * s[:, None], b.bias)
    places = b.weights.shape[1] // len(s)
    return scaled_a, b.with_weights(b.weights * np.repeat(s, places), b.bias)
