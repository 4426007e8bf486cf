"""What the quantized network should give as the float one does, and how far it is from that.

scores     (N, C), what a softmax makes probabilities of: Kullback-Leibler divergence
features   the mean squared difference over the variance of the float values
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qcompile.quantizer.grid import Array
from qcompile.quantizer.network import Network
from qcompile.quantizer.operators import attributes_of
from qcompile.quantizer.placement import Places

AFTER_SCORES = ("Identity", "LogSoftmax", "Softmax")
# Of features inside the network, beside the scores: what every place of an image tells wears out
# later than what the image as a whole tells.
INNER_WEIGHT = 3.0
SMALLEST = 1e-12  # variance of a feature that never changes


@dataclass(frozen=True)
class Aims:
    """Names of values; features, scores among them, with their variances."""

    scores: tuple[str, ...]
    features: dict[str, float]

    @staticmethod
    def of(network: Network, places: Places, float_values: Mapping[str, Array]) -> "Aims":
        """Scores are results of (N, C), or what a softmax makes them of. Features are all results,
        and quantized values that alone lead to all that follows."""
        results = [_before_softmax(network, name) for name in network.outputs]
        scores = [name for name in results if _are_scores(float_values[name])]
        quantized = {place.value for place in places.values()}
        narrow = [name for name in narrow_places(network) if name in quantized]
        found = [n for n in sorted({*narrow, *results}) if float_values[n].dtype.kind == "f"]
        variances = {n: max(float(np.var(float_values[n])), SMALLEST) for n in found}
        return Aims(tuple(dict.fromkeys(scores)), variances)

    def seeds(
        self, float_values: Mapping[str, Array], found: Mapping[str, Array]
    ) -> tuple[float, dict[str, Array]]:
        """The loss on a batch, and its gradients at scores and features."""
        loss, seeds = 0.0, dict[str, Array]()
        for name in self.scores:
            wanted, have = _log_softmax(float_values[name]), _log_softmax(found[name])
            share = np.exp(wanted)
            loss += float((share * (wanted - have)).sum()) / len(share)
            seeds[name] = (np.exp(have) - share) / np.float32(len(share))
        for name, variance in self.features.items():
            difference = found[name] - float_values[name]
            weight = 1.0 if name in self.scores else INNER_WEIGHT
            scale = weight / (difference.size * variance)
            loss += scale * float(np.square(difference).sum())
            part = np.float32(2 * scale) * difference
            seeds[name] = seeds[name] + part if name in seeds else part
        return loss, seeds


def narrow_places(network: Network) -> list[str]:
    """Values that alone lead to all that is computed after them, in order."""
    left, constants = network.readers(), network.constants
    alive = {value.name for value in network.inputs}
    found: list[str] = []
    for node in network.nodes:
        left.subtract(node.input)
        layer = network.layer(node)
        alive |= set(node.output) if layer is None else {layer.output}
        alive = {name for name in alive if left[name] > 0 and name not in constants}
        if len(alive) == 1 and not alive & {value.name for value in network.inputs}:
            found.extend(alive - set(found[-1:]))
    return found


def _before_softmax(network: Network, name: str) -> str:
    """The value that only operators of AFTER_SCORES, over the last of two axes, lead to `name`."""
    makers = {node.output[0]: node for node in network.nodes if node.output}
    while name in makers and makers[name].op_type in AFTER_SCORES:
        if attributes_of(makers[name]).get("axis", -1) not in (-1, 1):
            break
        name = makers[name].input[0]
    return name


def _are_scores(values: Array) -> bool:
    return values.dtype.kind == "f" and values.ndim == 2 and values.shape[1] > 1


def _log_softmax(scores: Array) -> Array:
    shifted = scores - scores.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
