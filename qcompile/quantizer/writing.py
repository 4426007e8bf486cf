"""A quantized network as ONNX.

    all widths 8:  QuantizeLinear, DequantizeLinear; weights as int8, biases as int32 at the scale
                   of the sums
    else QONNX:    Quant, BipolarQuant; weights and biases as floats, weights on their grid

Activations have one scale and no zero point, weights a scale for each output channel.
"""

from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import helper, numpy_helper

from qcompile.quantizer.calibrate import Calibrated
from qcompile.quantizer.fitting import FittedLayer
from qcompile.quantizer.grid import Array, Quantizer
from qcompile.quantizer.hoist import hoist
from qcompile.quantizer.network import Network
from qcompile.quantizer.placement import Place, Places

QONNX_DOMAIN = "qonnx.custom_op.general"
LEAST_IR_VERSION = 8
MOST_INT32 = 2**31 - 1
QDQ, QONNX = "QDQ", "QONNX"


def dialect(found: Calibrated) -> str:
    """QDQ where all widths are 8, else QONNX."""
    used = [*found.quantizers.values(), *(each.quantizer for each in found.layers.values())]
    return QDQ if all(quantizer.grid.bits == 8 for quantizer in used) else QONNX


def write_model(network: Network, places: Places, found: Calibrated) -> onnx.ModelProto:
    """The quantized model, its layers named as in the float one."""
    early, quantizers = hoist(network, places, found.quantizers)
    parts = _Parts(network, dialect(found) == QDQ)
    for node in network.nodes:
        edges = [early.get((node.output[0], k)) for k in range(len(node.input))]
        names = [
            name if place is None else parts.activation(place, quantizers[place])
            for name, place in zip(node.input, edges, strict=True)
        ]
        fitted = found.layers.get(node.output[0])
        if fitted is None:
            parts.copy(node, names)
        else:
            _layer(parts, fitted, names[0], found.quantizers[places[node.output[0], 0]])
    return parts.model()


@dataclass
class _Parts:
    """Nodes and constants of the model that is being made; `standard` is QDQ."""

    network: Network
    standard: bool
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    _written: dict[Place, str] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        nodes = self.network.nodes
        self._taken |= {name for node in nodes for name in (node.name, *node.input, *node.output)}
        self._taken |= {name for layer in self.network.layers.values() for name in (layer.output,)}

    def free(self, wanted: str) -> str:
        """A name that nothing has."""
        name, count = wanted, 0
        while name in self._taken:
            count += 1
            name = f"{wanted}_{count}"
        self._taken.add(name)
        return name

    def constant(self, wanted: str, value: Array) -> str:
        name = self.free(wanted)
        self.constants[name] = value
        return name

    def node(self, operator: str, inputs: list[str], result: str, **attributes: object) -> str:
        """The result's name, free or as asked for."""
        name = self.free(f"{operator}_{result}")
        domain = QONNX_DOMAIN if operator in ("Quant", "BipolarQuant") else ""
        self.nodes.append(
            helper.make_node(operator, inputs, [result], name, domain=domain, **attributes)
        )
        return result

    def copy(self, node: onnx.NodeProto, inputs: list[str]) -> None:
        copy = onnx.NodeProto.FromString(node.SerializeToString())
        del copy.input[:]
        copy.input.extend(inputs)
        known = self.network.constants
        self.constants.update({name: known[name] for name in inputs if name in known})
        self.nodes.append(copy)

    def activation(self, place: Place, quantizer: Quantizer) -> str:
        """The name of a quantized value."""
        if place not in self._written:
            wanted = f"{place.value}_quantized"
            scale = self.constant(f"{place.value}_scale", np.asarray(quantizer.scale, "float32"))
            if self.standard:
                dtype = np.int8 if quantizer.grid.signed else np.uint8
                zero = self.constant(f"{place.value}_zero", np.zeros((), dtype))
                codes = self.free(f"{place.value}_codes")
                self.node("QuantizeLinear", [place.value, scale, zero], codes)
                self.node("DequantizeLinear", [codes, scale, zero], self.free(wanted))
            else:
                self.quant(place.value, scale, quantizer, self.free(wanted))
            self._written[place] = self.nodes[-1].output[0]
        return self._written[place]

    def quant(self, value: str, scale: str, quantizer: Quantizer, result: str) -> str:
        """A quantizer of QONNX."""
        grid = quantizer.grid
        if grid.bipolar:
            return self.node("BipolarQuant", [value, scale], result)
        zero, bits = "qonnx_zero", f"qonnx_bits_{grid.bits}"
        self.constants[zero] = np.zeros((), "float32")
        self.constants[bits] = np.full((), grid.bits, "float32")
        self._taken |= {zero, bits}
        signs = {"signed": int(grid.signed), "narrow": 0, "rounding_mode": "ROUND"}
        return self.node("Quant", [value, scale, zero, bits], result, **signs)

    def model(self) -> onnx.ModelProto:
        source = self.network.model
        graph = helper.make_graph(
            self.nodes,
            source.graph.name or "quantized",
            list(self.network.inputs),
            list(source.graph.output),
            [numpy_helper.from_array(np.asarray(v), n) for n, v in self.constants.items()],
        )
        imports = [entry for entry in source.opset_import if entry.domain in ("", "ai.onnx")]
        if not self.standard:
            imports.append(helper.make_opsetid(QONNX_DOMAIN, 1))
        return helper.make_model(
            graph,
            producer_name="qcompile",
            opset_imports=imports,
            ir_version=max(source.ir_version, LEAST_IR_VERSION),
        )


def _layer(parts: _Parts, fitted: FittedLayer, value: str, activations: Quantizer) -> None:
    layer = fitted.layer
    weights = _weights(parts, fitted)
    bias = _bias(parts, fitted, activations)
    copy = onnx.NodeProto.FromString(layer.node.SerializeToString())
    separate = copy.op_type == "MatMul"
    result = parts.free(f"{layer.output}_product") if separate and bias else layer.output
    copy.name, copy.output[0] = layer.name, result
    del copy.input[:]
    copy.input.extend([value, weights] if separate or not bias else [value, weights, bias])
    parts.nodes.append(copy)
    if separate and bias:
        parts.node("Add", [result, bias], layer.output)


def _weights(parts: _Parts, fitted: FittedLayer) -> str:
    layer = fitted.layer
    scales = fitted.quantizer.scale.reshape(-1)
    shared = bool((scales == scales[0]).all())
    name = f"{layer.name}_weights"
    if parts.standard:
        codes = parts.constant(f"{name}_codes", layer.tensor(fitted.codes).astype("int8"))
        scale = parts.constant(f"{name}_scale", scales[0] if shared else scales)
        zero = parts.constant(f"{name}_zero", np.zeros((() if shared else scales.shape), "int8"))
        axis = {} if shared else {"axis": layer.channel_axis}
        return parts.node("DequantizeLinear", [codes, scale, zero], parts.free(name), **axis)
    values = parts.constant(f"{name}_values", layer.tensor(layer.weights))
    shape = [1] * layer.tensor(fitted.codes).ndim
    shape[layer.channel_axis] = len(scales)
    scale = parts.constant(f"{name}_scale", scales[0] if shared else scales.reshape(shape))
    return parts.quant(values, scale, fitted.quantizer, parts.free(name))


def _bias(parts: _Parts, fitted: FittedLayer, activations: Quantizer) -> str:
    """The bias's name, or nothing where it is 0."""
    layer = fitted.layer
    if not layer.bias.any():
        return ""
    name = f"{layer.name}_bias"
    step = (activations.scale * fitted.quantizer.scale.reshape(-1)).astype("float32")
    codes = np.rint(layer.bias.astype("float64") / step)
    if not parts.standard or layer.node.op_type == "MatMul" or np.abs(codes).max() > MOST_INT32:
        return parts.constant(name, layer.bias)
    stored = parts.constant(f"{name}_codes", codes.astype("int32"))
    shared = bool((step == step[0]).all())
    scale = parts.constant(f"{name}_scale", step[0] if shared else step)
    axis = {} if shared else {"axis": 0}
    return parts.node("DequantizeLinear", [stored, scale], parts.free(name), **axis)
