"""The quantized network, forward and back, with parameters that change."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import onnx

from qcompile.quantizer.backward import layer_gradients, node_gradients
from qcompile.quantizer.fine_tuning.parameters import Key, Parameters
from qcompile.quantizer.fine_tuning.rounded import Rounded
from qcompile.quantizer.grid import Array
from qcompile.quantizer.layers import Layer
from qcompile.quantizer.network import Network
from qcompile.quantizer.operators import compute
from qcompile.quantizer.placement import Place, Places

Name = TypeVar("Name")
UNIT = np.ones((), "float32")  # weights are counted in steps


@dataclass
class Run:
    """One batch through the student: all that its way back needs.

    `rounded`: by place, which values were quantized there; `layers`: by their node's result, the
    layer as it computed, its columns and its rounded weights.
    """

    values: dict[str, Array]
    arguments: dict[str, list[Array | None]] = field(default_factory=dict)
    rounded: dict[Place, Rounded] = field(default_factory=dict)
    layers: dict[str, tuple[Layer, Array, Rounded]] = field(default_factory=dict)


@dataclass(frozen=True)
class Student:
    network: Network
    places: Places
    parameters: Parameters

    def forward(self, inputs: Mapping[str, Array]) -> Run:
        run = Run({**self.network.constants, **inputs})
        for node in self.network.nodes:
            key = node.output[0]
            arguments = [self._argument(run, node, k) for k in range(len(node.input))]
            run.arguments[key] = arguments
            if self.network.layer(node) is not None:
                assert arguments[0] is not None
                self._layer(run, key, arguments[0])
            else:
                found = compute(node, arguments, self.network.opset)
                run.values.update(zip(node.output, found, strict=True))
        return run

    def backward(self, run: Run, seeds: Mapping[str, Array]) -> dict[Key, Array]:
        """The gradients of all parameters. seeds: those of values by name."""
        gradients: dict[Key, Array] = {}
        quantized: dict[Place, Array] = {}
        values = dict(seeds)
        for node in reversed(self.network.nodes):
            key = node.output[0]
            layer = self.network.layer(node)
            name = key if layer is None else layer.output
            upstream = self._through(run, name, values, quantized, gradients)
            if upstream is None:
                continue
            parts = self._parts(run, node, upstream, gradients)
            for k, (source, part) in enumerate(zip(node.input, parts, strict=True)):
                if part is not None:
                    place = self.places.get((key, k))
                    _add(values, source, part) if place is None else _add(quantized, place, part)
        for value in self.network.inputs:
            self._through(run, value.name, values, quantized, gradients)
        return gradients

    def _argument(self, run: Run, node: onnx.NodeProto, index: int) -> Array | None:
        name = node.input[index]
        place = self.places.get((node.output[0], index))
        if place is None:
            return run.values[name] if name else None
        if place not in run.rounded:
            grid = self.parameters.fitted.quantizers[place].grid
            run.rounded[place] = Rounded.of(run.values[name], self.parameters.step(place), grid)
        return run.rounded[place].values

    def _layer(self, run: Run, key: str, x: Array) -> None:
        fitted, values = self.parameters.fitted.layers[key], self.parameters.values
        weights = Rounded.of(values["weights", key], UNIT, fitted.quantizer.grid)
        step = self.parameters.weight_step(key)
        layer = replace(fitted.layer, weights=weights.values * step, bias=values["bias", key])
        columns = layer.columns(x)
        run.layers[key] = layer, columns, weights
        run.values[layer.output] = layer.shaped(layer.product(columns), x)

    def _parts(
        self, run: Run, node: onnx.NodeProto, upstream: Array, gradients: dict[Key, Array]
    ) -> list[Array | None]:
        """Gradients of a node's inputs; those of a layer's parameters go among `gradients`."""
        key, arguments = node.output[0], run.arguments[node.output[0]]
        if key not in run.layers:
            needed = [bool(name) and name not in self.network.constants for name in node.input]
            return node_gradients(node, arguments, run.values[key], upstream, needed)
        layer, columns, rounded = run.layers.pop(key)
        assert arguments[0] is not None
        back, weights, bias = layer_gradients(layer, arguments[0], columns, upstream)
        growth = (weights * layer.weights).sum(axis=1)
        gradients["weights", key] = rounded.back(weights) * self.parameters.weight_step(key)
        gradients["bias", key] = bias
        gradients["growth", key] = np.bincount(self.parameters.rows[key], growth)
        return [back, *[None] * (len(node.input) - 1)]

    def _through(
        self,
        run: Run,
        name: str,
        values: dict[str, Array],
        quantized: dict[Place, Array],
        gradients: dict[Key, Array],
    ) -> Array | None:
        """The gradient of a value, with what comes back through its quantizers."""
        for place in [place for place in quantized if place.value == name]:
            upstream, rounded = quantized.pop(place), run.rounded[place]
            _add(values, name, rounded.back(upstream))
            number = "range", self.parameters.numbers[place]
            _add(gradients, number, rounded.growth(upstream).sum())
        return values.pop(name, None)


def _add(found: dict[Name, Array], key: Name, part: Array) -> None:
    found[key] = found[key] + part if key in found else part
