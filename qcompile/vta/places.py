"""Which first layers a board's processor takes off VTA because the network is then sooner done.

Layers that read what comes from outside leave VTA when the processor is faster with them,
transforms of their tensors counted: what goes from one to the other is brought into VTA's layout or
back. All others stay: who asks for VTA gets it, also where it would not pay. Times of VTA are those
of the cycle simulator, of the processor those that its table of costs predicts for one core. Where
nothing would stay on VTA, all does.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from qcompile.targets.costs import Costs
from qcompile.targets.vta.layers import Layer, MaxPool, Segment, VtaTensor

SUM_BYTES = 4


@dataclass(frozen=True)
class Place:
    """Where a layer runs, with the times that decided; transforms of its tensors are in both.

    processor_s is None where the table tells no time.
    """

    layer: str
    on_vta: bool
    vta_s: float
    processor_s: float | None


def choose_places(
    segments: Sequence[Segment],
    vta_s: Mapping[str, float],
    products_s: Mapping[str, float | None],
    costs: Costs,
) -> tuple[Place, ...]:
    """A place for every layer of the segments, in their order.

    vta_s: of every layer on VTA; products_s: of every layer's convolutions and products on the
    processor, 0 where it has none, None where it is not known.
    """
    network = _Network(segments, costs)
    on_host: set[str] = set()
    while True:
        times = {
            layer.name: network.times(layer, on_host, vta_s[layer.name], products_s[layer.name])
            for layer in network.layers
        }
        faster = [
            name
            for name, (own, other) in times.items()
            if name not in on_host and other is not None and other < own
            if network.first(name)
        ]
        if not faster:
            break
        on_host.add(faster[0])
    if len(on_host) == len(network.layers):
        on_host = set()
    return tuple(Place(name, name not in on_host, *times[name]) for name in times)


class _Network:
    """The layers of all segments, and who makes and reads each tensor."""

    def __init__(self, segments: Sequence[Segment], costs: Costs) -> None:
        self.layers = [layer for segment in segments for layer in segment.layers]
        self._costs = costs
        self._tensors: dict[str, VtaTensor] = {}
        self._makers = {layer.output.name: layer.name for layer in self.layers}
        self._readers: dict[str, list[str]] = {}
        self._out = {name for segment in segments for name in segment.outputs}
        for segment in segments:
            for tensor in (*segment.tensors, *(layer.output for layer in segment.layers)):
                self._tensors[tensor.name] = tensor
        for layer in self.layers:
            for name in _reads(layer):
                self._readers.setdefault(name, []).append(layer.name)

    def first(self, name: str) -> bool:
        """Whether a layer reads nothing that VTA makes."""
        layer = next(layer for layer in self.layers if layer.name == name)
        return all(tensor not in self._makers for tensor in _reads(layer))

    def times(
        self, layer: Layer, on_host: set[str], vta_s: float, products_s: float | None
    ) -> tuple[float, float | None]:
        """On VTA and on the processor, the other layers where they are."""
        others = on_host - {layer.name}
        own = vta_s + self._transforms(layer, others, on_vta=True)
        if products_s is None:
            return own, None
        host = products_s or self._elementwise(layer)
        return own, host + self._transforms(layer, others, on_vta=False)

    def _transforms(self, layer: Layer, on_host: set[str], *, on_vta: bool) -> float:
        """Seconds for tensors that change sides because of this layer alone."""
        seconds = 0.0
        for name in _reads(layer):
            others = [reader for reader in self._readers[name] if reader != layer.name]
            from_host = self._makers.get(name) is None or self._makers[name] in on_host
            same_side = any((reader in on_host) != on_vta for reader in others)
            if from_host == on_vta and not same_side:
                seconds += self._transform(name)
        output = layer.output.name
        readers = [reader in on_host for reader in self._readers.get(output, ())]
        crosses = any(readers) or output in self._out if on_vta else not all(readers)
        return seconds + (self._transform(output) if crosses else 0.0)

    def _transform(self, name: str) -> float:
        tensor = self._tensors[name]
        return prod(tensor.shape) * (SUM_BYTES if tensor.dtype == "sums" else 1) * self._byte_s

    def _elementwise(self, layer: Layer) -> float:
        """Seconds of the processor for what is no convolution or product: windows, one by one."""
        if isinstance(layer, MaxPool):
            taps = prod(layer.kernel)
        else:
            taps = sum(prod(source.weights.shape[1:3]) for source in layer.sources)
        return taps * prod(layer.output.shape) * self._byte_s

    @property
    def _byte_s(self) -> float:
        return self._costs.copy_s


def _reads(layer: Layer) -> Iterator[str]:
    """The names of the tensors that a layer reads, each once."""
    if isinstance(layer, MaxPool):
        return iter((layer.tensor,))
    return iter(dict.fromkeys(source.tensor for source in layer.sources))
