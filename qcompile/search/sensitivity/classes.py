"""What a network says of its classes, as logarithms of probabilities."""

from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax

from qcompile.errors import Unsupported
from qcompile.quantizer.grid import Array
from qcompile.quantizer.network import MOVERS, Network
from qcompile.quantizer.operators import attributes_of

SCORES_AXIS = 1  # of images (N, classes, H, W); all else has its classes last
IMAGE_RANK = 4


@dataclass(frozen=True)
class Classes:
    """`value`: the scores in front of a last softmax, or the output. `axis`: None where unsaid."""

    value: str
    axis: int | None

    def log_probabilities(self, scores: Array) -> Array:
        """(samples, positions, classes) float64, of scores (samples, ...)."""
        axis = self._axis(scores)
        moved = np.moveaxis(scores.astype("float64"), axis, -1)
        flat = moved.reshape(len(scores), -1, moved.shape[-1])
        return np.asarray(log_softmax(flat, axis=2))

    def _axis(self, scores: Array) -> int:
        axis = self.axis
        if axis is None:
            axis = SCORES_AXIS if scores.ndim == IMAGE_RANK else scores.ndim - 1
        if scores.ndim < 2 or scores.shape[axis] < 2:
            raise Unsupported(
                f"output '{self.value}' of shape {scores.shape} holds no scores of two or more "
                'classes for each sample; kinds=("block",) would work'
            )
        return axis


def classes_of(network: Network) -> Classes:
    """The scores of the network's one output. Raises Unsupported where there are more."""
    if len(network.outputs) != 1:
        raise Unsupported(
            f"the network has the outputs {', '.join(network.outputs)}; these kinds of sensitivity "
            'take one output of class scores; kinds=("block",) would work'
        )
    makers = {name: node for node in network.nodes for name in node.output}
    value = network.outputs[0]
    node = makers.get(value)
    while node is not None and node.op_type in MOVERS:
        node = makers.get(node.input[0])
    if node is not None and node.op_type in ("Softmax", "LogSoftmax"):
        return Classes(node.input[0], attributes_of(node).get("axis", -1))
    return Classes(value, None)
