"""The part of a network in front of its BatchNormalization nodes, forward and backward."""

from collections.abc import Mapping

from qcompile.quantizer.distillation.gradients import (
    expect_differentiable,
    layer_gradient,
    node_gradients,
)
from qcompile.quantizer.distillation.statistics import ancestors, statistics_of
from qcompile.quantizer.grid import Array
from qcompile.quantizer.network import Network
from qcompile.quantizer.operators import compute


class StatisticsGraph:
    """`statistics` of the network, `nodes` that they need. Raises Unsupported."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.statistics = statistics_of(network)
        self.nodes = ancestors(network, self.statistics)
        for node in self.nodes:
            if network.layer(node) is None:
                expect_differentiable(node)

    def loss(self, inputs: Mapping[str, Array]) -> tuple[float, dict[str, Array]]:
        """The sum over all statistics, and its gradient by the inputs."""
        values = self._forward(inputs)
        total, gradients = 0.0, dict[str, Array]()
        for each in self.statistics:
            loss, gradient = each.loss(values[each.value])
            total += loss
            _add(gradients, each.value, gradient)
        self._backward(values, gradients)
        return total, gradients

    def _forward(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        values = {**self.network.constants, **inputs}
        for node in self.nodes:
            layer = self.network.layer(node)
            if layer is not None:
                values[layer.output] = layer(values[layer.input])
            else:
                arguments = [values[name] if name else None for name in node.input]
                values[node.output[0]] = compute(node, arguments, self.network.opset)[0]
        return values

    def _backward(self, values: Mapping[str, Array], gradients: dict[str, Array]) -> None:
        """Take the gradients from results to inputs, node by node."""
        for node in reversed(self.nodes):
            gradient = gradients.pop(node.output[0], None)
            if gradient is None:
                continue
            layer = self.network.layer(node)
            if layer is not None:
                found = [layer_gradient(layer, values[layer.input], gradient)]
            else:
                arguments = [values[name] for name in node.input if name]
                found = node_gradients(node, arguments, values[node.output[0]], gradient)
            for name, each in zip(node.input, found, strict=False):
                if name not in self.network.constants:
                    _add(gradients, name, each)


def _add(gradients: dict[str, Array], name: str, gradient: Array) -> None:
    gradients[name] = gradients[name] + gradient if name in gradients else gradient
