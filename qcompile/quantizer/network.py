"""A float network: its nodes, constants and layers, ready to be quantized."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx.version_converter
from onnx import numpy_helper

from qcompile.errors import QCompileError, Unsupported
from qcompile.frontend.load import load_model
from qcompile.frontend.names import LayerNames
from qcompile.frontend.shapes import real_inputs
from qcompile.frontend.validate import describe, standard_opset
from qcompile.quantizer.grid import Array
from qcompile.quantizer.layers import Layer, layer_of
from qcompile.quantizer.operators import compute, expect_evaluable

QUANTIZED = re.compile(
    r"(Quantize|Dequantize|DynamicQuantize|QLinear)\w+|(Conv|MatMul)Integer|"
    "(Int|Bipolar)?Quant|Trunc|MultiThreshold"
)
LEAST_OPSET = 13  # the first with a scale for each channel
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
    loaded = _upgraded(loaded)
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
    return Network(loaded, tuple(nodes), constants, layers, opset)


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


def _upgraded(model: onnx.ModelProto) -> onnx.ModelProto:
    if standard_opset(model) >= LEAST_OPSET:
        return model
    try:
        return onnx.version_converter.convert_version(model, LEAST_OPSET)
    except Exception as error:  # ConvertError, RuntimeError and others
        raise Unsupported(
            f"opset {standard_opset(model)} has no quantizers by channel, and ONNX's converter "
            f"does not bring it to {LEAST_OPSET}: {error}"
        ) from error
