"""One layer alone quantized, all others float.

Its weights are chosen as the quantizer chooses them, so that on the quantized inputs it gives what
it gave in float. Where the quantizer lets an addition read the same codes as the layer, the
addition reads them here, too. All else that the quantizer would give 8 bits (other operands of
additions, inputs of averages) stays float: those are the same whatever widths a layer has.
"""

from collections.abc import Iterator, Sequence

from qcompile.quantizer.fitting import fit_layer
from qcompile.quantizer.grid import Array
from qcompile.quantizer.layers import Layer
from qcompile.quantizer.moments import moments
from qcompile.quantizer.network import Network
from qcompile.quantizer.options import QuantizeOptions, Widths
from qcompile.quantizer.placement import place
from qcompile.quantizer.ranges import fit_activations
from qcompile.search.sensitivity.flow import Change, Edge


def alone(
    network: Network,
    layer: Layer,
    inputs: Sequence[Array],
    choices: Sequence[Widths],
    options: QuantizeOptions,
) -> Iterator[tuple[Widths, Change]]:
    """The change that each choice makes; inputs: the layer's in float, batch by batch."""
    key, wanted = layer.node.output[0], [layer(x) for x in inputs]
    for bits in sorted({choice.activations for choice in choices}):
        quantizer = fit_activations(list(inputs), bits, options.ranges, options.percentile)
        found = moments(layer, [quantizer(x) for x in inputs], wanted)
        for choice in choices:
            if choice.activations == bits:
                fitted = fit_layer(layer, choice.weights, found, options)
                edges = edges_of(network, layer, choice)
                yield choice, Change(key, fitted.layer, quantizer, edges)


def edges_of(network: Network, layer: Layer, widths: Widths) -> frozenset[Edge]:
    """The edges that read through the layer's quantizer, those of other layers left out."""
    everywhere = {other.name: Widths() for other in network.layers.values()}
    places = place(network, {**everywhere, layer.name: widths})
    own = (layer.node.output[0], 0)
    shared = {
        edge
        for edge, found in places.items()
        if found == places[own] and (edge == own or edge[0] not in network.layers)
    }
    return frozenset(shared)
