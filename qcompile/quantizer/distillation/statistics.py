"""How far a batch is from the statistics that BatchNormalization nodes remember."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from qcompile.errors import InvalidModel, Unsupported
from qcompile.frontend.validate import describe
from qcompile.quantizer.grid import Array
from qcompile.quantizer.network import Network
from qcompile.quantizer.operators import attributes_of

SMALLEST = 1e-12  # a variance that can be divided by


@dataclass(frozen=True)
class Statistics:
    """Of each channel of `value`, (N, C, ...): its mean and standard deviation in training."""

    value: str
    mean: Array
    deviation: Array

    def loss(self, x: Array) -> tuple[float, Array]:
        """How far x is away, and the gradient by x.

        The mean over channels of the squared differences of means and of standard deviations, in
        units of the channel's standard deviation: channels of all sizes count alike.
        """
        axes, wide = (0, *range(2, x.ndim)), (-1, *(1,) * (x.ndim - 2))
        count = x.size // x.shape[1]
        mean = x.mean(axis=axes)
        deviation = np.sqrt(np.square(x - mean.reshape(wide)).mean(axis=axes) + SMALLEST)
        unit = np.square(self.deviation)
        apart, wider = (mean - self.mean) / unit, (deviation - self.deviation) / unit
        loss = (apart * (mean - self.mean) + wider * (deviation - self.deviation)).mean()
        scale = 2 / (count * x.shape[1])
        by_value = (scale * wider / deviation).reshape(wide) * (x - mean.reshape(wide))
        return float(loss), (by_value + (scale * apart).reshape(wide)).astype("float32")


def statistics_of(network: Network) -> list[Statistics]:
    """Those of the network's BatchNormalization nodes. Raises Unsupported where there are none."""
    nodes = [node for node in network.nodes if node.op_type == "BatchNormalization"]
    if not nodes:
        raise Unsupported(
            "it has no BatchNormalization nodes (they may be folded already), so there are no "
            "statistics to make calibration data from; calibration data would work"
        )
    return [_statistics(node, network) for node in nodes]


def ancestors(network: Network, found: Sequence[Statistics]) -> list[onnx.NodeProto]:
    """The nodes that the statistics' values need, in order."""
    needed, nodes = {each.value for each in found}, []
    for node in reversed(network.nodes):
        if not needed.isdisjoint(node.output):
            needed.update(node.input)
            nodes.append(node)
    return nodes[::-1]


def _statistics(node: onnx.NodeProto, network: Network) -> Statistics:
    if any(name not in network.constants for name in node.input[1:]):
        raise Unsupported(f"{describe(node)}: its statistics are no constants")
    mean, variance = (network.constants[name].astype("float32") for name in node.input[3:5])
    spread = variance + np.float32(attributes_of(node).get("epsilon", 1e-5))
    if not (spread > 0).all():
        raise InvalidModel(f"{describe(node)}: a variance that is not positive")
    return Statistics(node.input[0], mean, np.sqrt(spread))
