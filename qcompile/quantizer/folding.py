"""Fold what follows a layer into its weights: exact but for float rounding.

    Conv, BatchNormalization       -> Conv
    MatMul, Add of a vector        -> MatMul with a bias

where nothing else reads the layer's result.
"""

from dataclasses import replace

import numpy as np
import onnx

from qcompile.errors import InvalidModel
from qcompile.frontend.validate import describe
from qcompile.quantizer.grid import Array
from qcompile.quantizer.layers import Layer
from qcompile.quantizer.network import Network
from qcompile.quantizer.operators import attributes_of


def fold(network: Network) -> Network:
    """The same network with fewer nodes."""
    readers = network.readers()
    makers = {layer.output: key for key, layer in network.layers.items()}
    layers, nodes = dict(network.layers), []
    for node in network.nodes:
        key = next((makers[name] for name in node.input if name in makers), None)
        layer = layers[key] if key is not None else None
        alone = layer is not None and readers[layer.output] == 1
        merged = _merged(layer, node, network.constants) if layer and alone else None
        if merged is None or key is None:
            nodes.append(node)
        else:
            layers[key] = merged
            makers[merged.output] = key
    return Network(network.model, tuple(nodes), network.constants, layers, network.opset)


def _merged(layer: Layer, node: onnx.NodeProto, constants: dict[str, Array]) -> Layer | None:
    """The layer with the node folded in, or None."""
    if node.op_type == "Add" and layer.node.op_type == "MatMul":
        other = next((constants[name] for name in node.input if name in constants), None)
        if other is None or other.shape not in ((), (1,), layer.bias.shape):
            return None
        merged = layer.with_weights(layer.weights, layer.bias + other)
    elif node.op_type == "BatchNormalization" and layer.node.op_type == "Conv":
        if any(node.output[1:]) or any(name not in constants for name in node.input[1:]):
            return None
        merged = _normalized(layer, node, [constants[name] for name in node.input[1:]])
    else:
        return None
    return replace(merged, output=node.output[0])


def _normalized(layer: Layer, node: onnx.NodeProto, statistics: list[Array]) -> Layer:
    gamma, beta, mean, variance = (array.astype("float64") for array in statistics)
    spread = variance + attributes_of(node).get("epsilon", 1e-5)
    if not (spread > 0).all():
        raise InvalidModel(f"{describe(node)}: a variance that is not positive")
    factor = gamma / np.sqrt(spread)
    bias = (layer.bias - mean) * factor + beta
    return layer.with_weights(layer.weights * factor[:, None], bias)
