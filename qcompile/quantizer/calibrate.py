"""Quantize layer by layer, in the order of the data.

Two streams run side by side: the float network, and the network as quantized so far. A layer is
fitted so that on the inputs of the second it gives what it gives in the first.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from qcompile.errors import InvalidInput, QCompileError
from qcompile.frontend.validate import describe
from qcompile.quantizer.fitting import FittedLayer, fit_layer
from qcompile.quantizer.grid import Array, Quantizer
from qcompile.quantizer.layers import Layer
from qcompile.quantizer.moments import moments
from qcompile.quantizer.network import Network
from qcompile.quantizer.operators import compute
from qcompile.quantizer.options import QuantizeOptions, Widths
from qcompile.quantizer.placement import Place, Places
from qcompile.quantizer.ranges import fit_activations

Chunks = list[Array]
Step = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Calibrated:
    """Fitted layers by the name of their node's result, quantizers by their place.

    `noise`: of each layer by name, the mean squared error of its result over its variance.
    """

    layers: dict[str, FittedLayer]
    quantizers: dict[Place, Quantizer]
    noise: dict[str, float]


class _Streams:
    """Values of both streams by name, each as one array for each batch of samples."""

    def __init__(self, network: Network, places: Places, inputs: Mapping[str, Chunks]):
        self.float: dict[str, Chunks] = dict(inputs)
        self.quantized: dict[str, Chunks] = dict(inputs)
        self.places = places
        self.network = network
        self.batches = len(next(iter(inputs.values())))
        self._readers = network.readers()

    def read(
        self, node: onnx.NodeProto, which: dict[str, Chunks], batch: int
    ) -> list[Array | None]:
        constants = self.network.constants
        return [
            None if not name else constants[name] if name in constants else which[name][batch]
            for name in node.input
        ]

    def drop(self, node: onnx.NodeProto) -> None:
        """Forget what no later node reads."""
        for name in node.input:
            self._readers[name] -= 1
            if self._readers[name] == 0:
                self.float.pop(name, None)
                self.quantized.pop(name, None)


def calibrate(
    network: Network,
    places: Places,
    widths: Mapping[str, Widths],
    inputs: Mapping[str, Chunks],
    options: QuantizeOptions,
    step: Step,
) -> Calibrated:
    """Every quantizer and every layer, fitted to the inputs. Raises InvalidInput for NaN."""
    streams = _Streams(network, places, inputs)
    result = Calibrated({}, {}, {})
    for node in network.nodes:
        layer = network.layer(node)
        try:
            if layer is not None:
                step(f"quantizing {layer.name}", len(result.layers), len(network.layers))
                _fit(streams, layer, widths[layer.name], options, result)
            else:
                _pass_on(streams, node, options, result)
        except QCompileError as error:
            raise type(error)(f"{describe(node)}: {error}") from error
        streams.drop(node)
    return result


def _operand(
    streams: _Streams, key: tuple[str, int], name: str, options: QuantizeOptions, found: Calibrated
) -> Chunks:
    """The quantized stream's value at an input of a node, behind the quantizer there."""
    chunks = streams.quantized[name]
    place = streams.places.get(key)
    if place is None:
        return chunks
    if place not in found.quantizers:
        found.quantizers[place] = fit_activations(
            chunks, place.bits, options.ranges, options.percentile
        )
    return [found.quantizers[place](chunk) for chunk in chunks]


def _fit(
    streams: _Streams, layer: Layer, widths: Widths, options: QuantizeOptions, result: Calibrated
) -> None:
    key = layer.node.output[0]
    wanted = [layer(x) for x in streams.float[layer.input]]
    _expect_finite(wanted)
    inputs = _operand(streams, (key, 0), layer.input, options, result)
    aim = _compensated(streams, layer, wanted, options, result)
    fitted = fit_layer(
        layer, widths.weights, moments(layer, zip(inputs, aim, strict=True)), options
    )
    found = [fitted.layer(x) for x in inputs]
    result.layers[key] = fitted
    result.noise[layer.name] = _noise(wanted, found)
    streams.float[layer.output], streams.quantized[layer.output] = wanted, found


def _compensated(
    streams: _Streams, layer: Layer, wanted: Chunks, options: QuantizeOptions, result: Calibrated
) -> Chunks:
    """What the layer should give: with the error of what an addition adds to it taken back."""
    nodes = [node for node in streams.network.nodes if layer.output in node.input]
    if options.rounding != "hessian" or len(nodes) != 1 or nodes[0].op_type != "Add":
        return wanted
    (node,) = nodes
    k = 1 - list(node.input).index(layer.output)
    other = node.input[k]
    if other not in streams.float or other == layer.output:
        return wanted
    quantized = _operand(streams, (node.output[0], k), other, options, result)
    return [y + a - b for y, a, b in zip(wanted, streams.float[other], quantized, strict=True)]


def _pass_on(
    streams: _Streams, node: onnx.NodeProto, options: QuantizeOptions, result: Calibrated
) -> None:
    opset, batches = streams.network.opset, range(streams.batches)
    floats = [compute(node, streams.read(node, streams.float, k), opset) for k in batches]
    arguments = [streams.read(node, streams.quantized, k) for k in batches]
    for index, name in enumerate(node.input):
        if (node.output[0], index) in streams.places:
            chunks = _operand(streams, (node.output[0], index), name, options, result)
            for argument, chunk in zip(arguments, chunks, strict=True):
                argument[index] = chunk
    seen = [compute(node, argument, opset) for argument in arguments]
    for k, name in enumerate(node.output):
        streams.float[name] = [each[k] for each in floats]
        streams.quantized[name] = [each[k] for each in seen]


def _expect_finite(chunks: Chunks) -> None:
    if not all(np.isfinite(chunk).all() for chunk in chunks):
        raise InvalidInput("its result on the calibration data is not finite in float")


def _noise(wanted: Chunks, found: Chunks) -> float:
    error = sum(float(np.square(a - b).sum()) for a, b in zip(wanted, found, strict=True))
    count = sum(a.size for a in wanted)
    mean = sum(float(a.sum(dtype="float64")) for a in wanted) / count
    spread = sum(float(np.square(a - np.float32(mean)).sum()) for a in wanted)
    return error / spread if spread else error
