"""A float network: its nodes, constants and layers, ready to be quantized.

BatchNormalization behind a layer that nothing else reads is folded into it, as is the addition of a
constant vector behind a MatMul: exact but for float rounding.
"""

import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from qcompile.errors import InvalidModel, QCompileError, Unsupported
from qcompile.frontend.load import load_model
from qcompile.frontend.names import LayerNames
from qcompile.frontend.shapes import real_inputs
from qcompile.frontend.validate import describe, standard_opset
from qcompile.quantizer.grid import Array
from qcompile.quantizer.layers import Layer, layer_of
from qcompile.quantizer.operators import attributes_of, compute, expect_evaluable

QUANTIZED = re.compile(
    r"(Quantize|Dequantize|DynamicQuantize|QLinear)\w+|(Conv|MatMul)Integer|"
    "(Int|Bipolar)?Quant|Trunc|MultiThreshold"
)
MOVERS = ("Flatten", "Identity", "MaxPool", "Reshape", "Squeeze", "Transpose", "Unsqueeze")


@dataclass(frozen=True)
class Network:
    """`nodes` in topological order, those of folded constants left out.

    `layers` by the name of their node's result before any folding: `layers[node.output[0]]`.
    """

    model: onnx.ModelProto
    nodes: tuple[onnx.NodeProto, ...]
    constants: dict[str, Array]
    layers: dict[str, Layer]
    opset: int

    @property
    def inputs(self) -> tuple[onnx.ValueInfoProto, ...]:
        return tuple(real_inputs(self.model.graph))

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(value.name for value in self.model.graph.output)

    def readers(self) -> Counter[str]:
        """How often each value is read, by nodes and as an output."""
        return Counter([*self.outputs, *(name for node in self.nodes for name in node.input)])

    def layer(self, node: onnx.NodeProto) -> Layer | None:
        return self.layers.get(node.output[0]) if node.output else None


def load_network(model: str | Path | onnx.ModelProto) -> Network:
    """The network of a float model. Raises InvalidModel or Unsupported."""
    loaded = load_model(model)
    for node in loaded.graph.node:
        if QUANTIZED.fullmatch(node.op_type):
            raise Unsupported(
                f"{describe(node)}: the model is quantized already; give the float model"
            )
        expect_evaluable(node)
    opset = standard_opset(loaded)
    constants = {t.name: numpy_helper.to_array(t).copy() for t in loaded.graph.initializer}
    names, nodes, layers = LayerNames(loaded.graph), [], {}
    for node in loaded.graph.node:
        name = names.next(node)
        if _constant(node, constants, opset):
            continue
        nodes.append(node)
        layer = layer_of(node, name, constants)
        if layer is not None:
            layers[node.output[0]] = layer
    if not layers:
        raise Unsupported("it has no Conv, Gemm or MatMul with constant float32 weights")
    return _folded(Network(loaded, tuple(nodes), constants, layers, opset))


def _constant(node: onnx.NodeProto, constants: dict[str, Array], opset: int) -> bool:
    """Whether the node's results are constants; they are among `constants` then."""
    if any(name and name not in constants for name in node.input):
        return False
    if node.op_type.startswith("Random") or node.op_type in ("Bernoulli", "Multinomial"):
        return False
    try:
        inputs = [constants[name] if name else None for name in node.input]
        results = compute(node, inputs, opset)
    except QCompileError as error:
        raise type(error)(f"{describe(node)}: {error}") from error
    constants.update(zip(node.output, results, strict=False))
    return True


def _folded(network: Network) -> Network:
    """Without BatchNormalization behind layers and additions of biases behind MatMuls."""
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
    if node.op_type == "Add" and layer.node.op_type == "MatMul":
        other = next((constants[name] for name in node.input if name in constants), None)
        if other is None or other.shape not in ((), (1,), layer.bias.shape):
            return None
        merged = layer.with_weights(layer.weights, layer.bias + other)
        return replace(merged, output=node.output[0])
    if node.op_type == "BatchNormalization" and layer.node.op_type == "Conv":
        if len([name for name in node.output if name]) > 1:
            return None
        if any(name not in constants for name in node.input[1:]):
            return None
        gamma, beta, mean, variance = (constants[name].astype("float64") for name in node.input[1:])
        factor = gamma / np.sqrt(variance + attributes_of(node).get("epsilon", 1e-5))
        if not np.isfinite(factor).all():
            raise InvalidModel(f"{describe(node)}: a variance below 0")
        bias = (layer.bias - mean) * factor + beta
        merged = layer.with_weights(layer.weights * factor[:, None], bias)
        return replace(merged, output=node.output[0])
    return None
