"""Which layers read what other layers make."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qcompile.quantizer.network import Network


@dataclass(frozen=True)
class Neighbours:
    """Layers in topological order; edges: (maker, reader), with no other layer between the two."""

    layers: tuple[str, ...]
    edges: tuple[tuple[str, str], ...]

    def readers(self, layer: str) -> tuple[str, ...]:
        return tuple(reader for maker, reader in self.edges if maker == layer)

    def makers(self, layer: str) -> tuple[str, ...]:
        return tuple(maker for maker, reader in self.edges if reader == layer)

    def to_json(self) -> dict[str, Any]:
        return {"layers": list(self.layers), "edges": [list(edge) for edge in self.edges]}

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> "Neighbours":
        edges = tuple((str(maker), str(reader)) for maker, reader in held["edges"])
        return cls(tuple(held["layers"]), edges)


def neighbours_of(network: Network) -> Neighbours:
    """The neighbours in a float network; what is no layer only hands on."""
    makers: dict[str, tuple[str, ...]] = {}  # of each value: the layers that it comes from
    layers, edges = [], []
    for node in network.nodes:
        sources = tuple(
            dict.fromkeys(m for name in node.input for m in makers.get(name, ())).keys()
        )
        layer = network.layer(node)
        if layer is not None:
            layers.append(layer.name)
            edges += [(maker, layer.name) for maker in sources]
            sources = (layer.name,)
        makers |= dict.fromkeys(node.output, sources)
        if layer is not None:
            makers[layer.output] = sources
    return Neighbours(tuple(layers), tuple(edges))
