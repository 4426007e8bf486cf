"""Quantize layer by layer, in the order of the data.

Two streams run side by side: the float network, and the network as quantized so far. A layer is
fitted so that on the inputs of the second it gives what it gives in the first; before an addition
it also takes back the error of what is added to its result.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx

from qcompile.commands.progress import Progress
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

Chunks = list[Array]  # a value, as one array for each batch of samples


@dataclass(frozen=True)
class Calibrated:
    """Fitted layers by the name of their node's result, quantizers by their place.

    `noise`: of each layer by name, the mean squared error of its result over its variance.
    """

    layers: dict[str, FittedLayer] = field(default_factory=dict)
    quantizers: dict[Place, Quantizer] = field(default_factory=dict)
    noise: dict[str, float] = field(default_factory=dict)


def calibrate(
    network: Network,
    places: Places,
    widths: Mapping[str, Widths],
    inputs: Mapping[str, Chunks],
    options: QuantizeOptions,
    progress: Progress,
) -> Calibrated:
    """Every quantizer and every layer, fitted to the inputs. Raises InvalidInput for NaN."""
    streams = _Streams(network, places, inputs, options)
    for node in network.nodes:
        layer = network.layer(node)
        try:
            if layer is not None:
                done = len(streams.result.layers)
                progress(f"quantizing {layer.name}", done, len(network.layers))
                streams.fit(layer, widths[layer.name])
            else:
                streams.pass_on(node)
        except QCompileError as error:
            raise type(error)(f"{describe(node)}: {error}") from error
        streams.drop(node)
    return streams.result


class _Streams:
    """The values of both streams by name, and what was fitted so far."""

    def __init__(
        self,
        network: Network,
        places: Places,
        inputs: Mapping[str, Chunks],
        options: QuantizeOptions,
    ) -> None:
        self.float: dict[str, Chunks] = dict(inputs)
        self.quantized: dict[str, Chunks] = dict(inputs)
        self.result = Calibrated()
        self._network, self._places, self._options = network, places, options
        self._batches = range(len(next(iter(inputs.values()))))
        self._readers = network.readers()

    def fit(self, layer: Layer, widths: Widths) -> None:
        """Run a layer in both streams, in the second with the weights that suit it best."""
        key, options = layer.node.output[0], self._options
        wanted = [layer(x) for x in self.float[layer.input]]
        if not all(np.isfinite(chunk).all() for chunk in wanted):
            raise InvalidInput("its float result on the calibration data is not finite")
        inputs = self._through(self._places[key, 0], self.quantized[layer.input])
        aim = self._compensated(layer, wanted) if options.rounding == "hessian" else wanted
        fitted = fit_layer(layer, widths.weights, moments(layer, inputs, aim), options)
        found = [fitted.layer(x) for x in inputs]
        self.result.layers[key] = fitted
        self.result.noise[layer.name] = _noise(wanted, found)
        self.float[layer.output], self.quantized[layer.output] = wanted, found

    def pass_on(self, node: onnx.NodeProto) -> None:
        """Run any other node in both streams."""
        for stream in (self.float, self.quantized):
            columns = [self._argument(node, k, stream) for k in range(len(node.input))]
            runs = [
                compute(node, [c if c is None else c[k] for c in columns], self._network.opset)
                for k in self._batches
            ]
            for index, name in enumerate(node.output):
                stream[name] = [run[index] for run in runs]

    def drop(self, node: onnx.NodeProto) -> None:
        """Forget what no later node reads."""
        for name in node.input:
            self._readers[name] -= 1
            if self._readers[name] == 0:
                self.float.pop(name, None)
                self.quantized.pop(name, None)

    def _argument(
        self, node: onnx.NodeProto, index: int, stream: dict[str, Chunks]
    ) -> Chunks | None:
        name, place = node.input[index], self._places.get((node.output[0], index))
        if not name:
            return None
        if name in self._network.constants:
            return [self._network.constants[name]] * len(self._batches)
        if place is None or stream is self.float:
            return stream[name]
        partner = node.input[1 - index] if place.mark else ""
        others = self.quantized[partner] if partner else []
        return self._through(place, stream[name], partner, others)

    def _through(
        self, place: Place, values: Chunks, partner: str = "", others: Chunks | None = None
    ) -> Chunks:
        """Quantized values; the quantizer serves those of its partner in an addition, too."""
        known = self.result.quantizers
        if place not in known:
            seen = [*values, *(others or [])]
            options = self._options
            known[place] = fit_activations(seen, place.bits, options.ranges, options.percentile)
            if partner:
                known[Place(partner, place.bits, place.mark)] = known[place]
        return [known[place](chunk) for chunk in values]

    def _compensated(self, layer: Layer, wanted: Chunks) -> Chunks:
        """What the layer should give, the error of what an addition adds to it taken back."""
        nodes = [node for node in self._network.nodes if layer.output in node.input]
        if len(nodes) != 1 or nodes[0].op_type != "Add":
            return wanted
        (node,) = nodes
        index = 1 - list(node.input).index(layer.output)
        other = node.input[index]
        if other not in self.float or other == layer.output:
            return wanted
        place, values = self._places.get((node.output[0], index)), self.quantized[other]
        if place is not None:
            partner = layer.output if place.mark else ""
            values = self._through(place, values, partner, wanted)
        return [y + a - b for y, a, b in zip(wanted, self.float[other], values, strict=True)]


def _noise(wanted: Chunks, found: Chunks) -> float:
    error = sum(float(np.square(a - b).sum()) for a, b in zip(wanted, found, strict=True))
    count = sum(a.size for a in wanted)
    mean = np.float32(sum(float(a.sum(dtype="float64")) for a in wanted) / count)
    spread = sum(float(np.square(a - mean).sum()) for a in wanted)
    return error / spread if spread else error
