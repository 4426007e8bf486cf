"""A quantized network as ONNX.

    all widths 8:  QuantizeLinear, DequantizeLinear; weights as int8, biases as int32 at the scale
                   of the sums
    else QONNX:    Quant, BipolarQuant; weights and biases as floats, weights on their grid

Activations have one scale and no zero point, weights a scale for each output channel.
"""

import numpy as np
import onnx

from qcompile.quantizer.calibrate import Calibrated
from qcompile.quantizer.fitting import FittedLayer
from qcompile.quantizer.grid import Quantizer
from qcompile.quantizer.hoist import hoist
from qcompile.quantizer.network import Network
from qcompile.quantizer.parts import Parts
from qcompile.quantizer.placement import Places

MOST_INT32 = 2**31 - 1
QDQ, QONNX = "QDQ", "QONNX"


def dialect(found: Calibrated) -> str:
    """QDQ where all widths are 8, else QONNX."""
    used = [*found.quantizers.values(), *(each.quantizer for each in found.layers.values())]
    return QDQ if all(quantizer.grid.bits == 8 for quantizer in used) else QONNX


def write_model(network: Network, places: Places, found: Calibrated) -> onnx.ModelProto:
    """The quantized model, its layers named as in the float one."""
    early, quantizers = hoist(network, places, found.quantizers)
    parts = Parts(network, dialect(found) == QDQ)
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


def _layer(parts: Parts, fitted: FittedLayer, value: str, activations: Quantizer) -> None:
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


def _weights(parts: Parts, fitted: FittedLayer) -> str:
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


def _bias(parts: Parts, fitted: FittedLayer, activations: Quantizer) -> str:
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
