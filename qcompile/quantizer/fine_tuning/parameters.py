"""What fine-tuning changes: weights, biases, and the logarithms of steps."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from qcompile.quantizer.calibrate import Calibrated
from qcompile.quantizer.fitting import FittedLayer
from qcompile.quantizer.grid import Array, Quantizer
from qcompile.quantizer.placement import Place

Key = tuple[str, str]  # what, and of which layer (its node's result) or quantizer (its number)


@dataclass(frozen=True)
class Parameters:
    """`values` start at the fitted codes and biases, and at no growth of any step.

    Weights are counted in steps, so that they grow and shrink with their step.

    `rows`: of each layer, the number of each output channel's step. `numbers`: of each place's
    quantizer; places that share a quantizer share its number.
    """

    fitted: Calibrated
    values: dict[Key, Array]
    rows: dict[str, Array]
    numbers: dict[Place, str]

    @staticmethod
    def of(fitted: Calibrated) -> "Parameters":
        rows, values = {}, {}
        for key, each in fitted.layers.items():
            _, rows[key] = np.unique(each.quantizer.scale.reshape(-1), return_inverse=True)
            values["weights", key] = each.codes.copy()
            values["bias", key] = each.layer.bias.copy()
            values["growth", key] = np.zeros(rows[key].max() + 1, "float32")
        known: dict[int, str] = {}
        numbers = {}
        for place, quantizer in fitted.quantizers.items():
            numbers[place] = known.setdefault(id(quantizer), str(len(known)))
            values["range", numbers[place]] = np.zeros((), "float32")
        return Parameters(fitted, values, rows, numbers)

    def weight_step(self, key: str) -> Array:
        """(O, 1)."""
        growth = self.values["growth", key][self.rows[key]]
        return np.asarray(self.fitted.layers[key].quantizer.scale * np.exp(growth)[:, None])

    def step(self, place: Place) -> Array:
        growth = self.values["range", self.numbers[place]]
        return np.asarray(self.fitted.quantizers[place].scale * np.exp(growth))

    def result(self) -> tuple[dict[str, FittedLayer], dict[Place, Quantizer]]:
        """Layers and quantizers as they are now."""
        layers = dict(self._layers())
        known: dict[str, Quantizer] = {}
        for place, quantizer in self.fitted.quantizers.items():
            known.setdefault(self.numbers[place], Quantizer(quantizer.grid, self.step(place)))
        return layers, {place: known[number] for place, number in self.numbers.items()}

    def _layers(self) -> Iterator[tuple[str, FittedLayer]]:
        for key, each in self.fitted.layers.items():
            step, grid = self.weight_step(key), each.quantizer.grid
            codes = grid.codes(self.values["weights", key])
            layer = each.layer.with_weights(codes * step, self.values["bias", key])
            yield key, FittedLayer(layer, codes, Quantizer(grid, step))
