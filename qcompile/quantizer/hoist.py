"""Move quantizers to where their values are made, so that all between runs on codes.

    q(MaxPool(x))      -> MaxPool(q(x))        the same values: q keeps the order of values
    q(Flatten(x))      -> Flatten(q(x))        likewise what only moves values
    q(Concat(a, b))    -> Concat(q(a), q(b))   one scale for all that meet there

A value that is read past the quantizer keeps it where it is.
"""

from dataclasses import replace

from qcompile.quantizer.grid import Quantizer
from qcompile.quantizer.network import MOVERS, Network
from qcompile.quantizer.placement import Place, Places


def hoist(
    network: Network, places: Places, quantizers: dict[Place, Quantizer]
) -> tuple[Places, dict[Place, Quantizer]]:
    """The same quantizers, as early as they can be."""
    places, quantizers = dict(places), dict(quantizers)
    for node in reversed(network.nodes):
        if node.op_type not in (*MOVERS, "Concat") or len(node.output) != 1:
            continue
        (value,) = node.output
        edges = [
            (reader.output[0], k)
            for reader in network.nodes
            for k, name in enumerate(reader.input)
            if name == value
        ]
        found = {places.get(edge) for edge in edges}
        if value in network.outputs or len(found) != 1 or None in found:
            continue
        (place,) = found
        assert place is not None
        for edge in edges:
            del places[edge]
        sources = node.input if node.op_type == "Concat" else node.input[:1]
        for k, source in enumerate(sources):
            moved = replace(place, value=source, mark=f"{place.value} {place.mark}")
            places[node.output[0], k] = moved
            quantizers[moved] = quantizers[place]
    return places, quantizers
