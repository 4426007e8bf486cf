"""A network's widths tried on designs: simulated, counted, each once."""

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import onnx

from qcompile.arrays import Array
from qcompile.quantizer import Widths
from qcompile.search.accelerator.design import Design
from qcompile.search.accelerator.evaluate import Simulated, simulated, top_1
from qcompile.search.accelerator.networks import FloatNetwork
from qcompile.search.accelerator.request import content_key
from qcompile.search.accelerator.store import Store, key_of
from qcompile.targets import VtaTarget

KEPT_MODELS = 4  # quantized ones, for designs of equal widths


class Trials:
    """What was found is in the store, from where it is taken the next time."""

    def __init__(
        self,
        network: FloatNetwork,
        board: VtaTarget,
        labelled: Mapping[str, Array] | None,
        path: Path | None,
    ) -> None:
        self.network, self.board, self.labelled = network, board, labelled
        self._store = Store(path)
        self._content = content_key(network.model, network.calibration)
        self._labels = content_key(network.model, network.calibration, labelled)
        self._models: OrderedDict[str, onnx.ModelProto] = OrderedDict()

    def simulated(self, design: Design, widths: Mapping[str, Widths]) -> Simulated:
        """Raises what `compile` raises."""
        facts = [self.board.name, self.board.clock_hz, self.board.host.name]
        key = key_of("simulated", self._content, facts, design.to_json(), _told(widths))
        if key not in self._store:
            self._store[key] = simulated(self._model(widths), design, self.board).to_json()
        return Simulated.from_json(self._store[key])

    def accuracy(self, design: Design, widths: Mapping[str, Widths]) -> float:
        """The share of the labelled samples that are right."""
        assert self.labelled is not None
        key = key_of("top-1", self._labels, design.scales, _told(widths))
        if key not in self._store:
            self._store[key] = top_1(self._model(widths), design.scales, self.labelled)
        return float(self._store[key])

    def _model(self, widths: Mapping[str, Widths]) -> onnx.ModelProto:
        """The network quantized to these widths, as well as can be."""
        key = str(_told(widths))
        if key not in self._models:
            self._models[key] = self.network.quantized(widths).model
            while len(self._models) > KEPT_MODELS:
                self._models.popitem(last=False)
        self._models.move_to_end(key)
        return self._models[key]


def _told(widths: Mapping[str, Widths]) -> dict[str, list[int]]:
    return {name: [one.weights, one.activations] for name, one in widths.items()}
