"""The part of a network in front of its BatchNormalization nodes, forward and backward."""

from collections.abc import Mapping
from dataclasses import replace

from qcompile.errors import Unsupported
from qcompile.quantizer.backward import backward, expect_differentiable, forward
from qcompile.quantizer.distillation.statistics import ancestors, statistics_of
from qcompile.quantizer.grid import Array
from qcompile.quantizer.network import Network


class StatisticsGraph:
    """`statistics` of the network, `nodes` that they need. Raises Unsupported."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.statistics = statistics_of(network)
        self.nodes = ancestors(network, self.statistics)
        self._part = replace(network, nodes=tuple(self.nodes))
        try:
            for node in self.nodes:
                expect_differentiable(node)
        except Unsupported as error:
            raise Unsupported(
                f"{error}: no calibration data can be made from BatchNormalization statistics. "
                "Calibration data would work"
            ) from error

    def loss(self, inputs: Mapping[str, Array]) -> tuple[float, dict[str, Array]]:
        """The sum over all statistics, and its gradient by the inputs."""
        values = forward(self._part, inputs)
        total, seeds = 0.0, dict[str, Array]()
        for each in self.statistics:
            loss, gradient = each.loss(values[each.value])
            total += loss
            known = seeds.get(each.value)
            seeds[each.value] = gradient if known is None else known + gradient
        gradients = backward(self._part, values, seeds)
        return total, {name: gradients[name] for name in inputs if name in gradients}
