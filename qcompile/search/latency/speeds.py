"""For which layers fewer than 8 bits bring speed on a device, with figures."""

from dataclasses import dataclass
from statistics import median

from qcompile.search.latency.choice import Choice
from qcompile.search.latency.model import LatencyModel

LEAST_GAIN = 0.01  # less is no gain, on models and simulators either


@dataclass(frozen=True)
class LayerSpeed:
    """A layer's widest choice and the fastest narrower one, on their fastest kernels.

    margin: the part of the seconds that a gain has to exceed.
    """

    layer: str
    widest: Choice
    widest_s: float
    narrower: Choice
    narrower_s: float
    margin: float

    @property
    def gain(self) -> float:
        """How much less time the narrower one takes, from 0 to 1; below 0 it takes more."""
        return 1 - self.narrower_s / self.widest_s if self.widest_s else 0.0

    @property
    def faster(self) -> bool:
        return self.gain > self.margin


def speeds(model: LatencyModel) -> tuple[LayerSpeed, ...]:
    """One for each layer that has a choice of widths."""
    spread = median(each.spread_s / each.seconds for each in model.survey)
    margin = max(LEAST_GAIN, 2 * spread)
    found = []
    for layer in model.neighbours.layers:
        costs = model.costs(layer)
        wide = max(costs, key=lambda c: (c.weights + c.activations, c.weights, -costs[c]))
        narrower = [choice for choice in costs if choice.widths != wide.widths]
        if narrower:
            best = min(narrower, key=lambda choice: costs[choice])
            found.append(LayerSpeed(layer, wide, costs[wide], best, costs[best], margin))
    return tuple(found)
