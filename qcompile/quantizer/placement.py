"""Which values are quantized, and to how many bits.

Every layer's input is, to the layer's width. So are the inputs of poolings that average, to
OTHER_BITS, and those of additions of two values:

    an operand that a layer reads too    shares that layer's codes
    two operands straight from layers    the one computed first has OTHER_BITS, the other goes
                                         from the accumulator into the sum
    an operand of other origin           has OTHER_BITS

With `equal_adds` both operands of each addition have OTHER_BITS, one grid and one scale instead,
for hardware that adds codes as they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from qcompile.quantizer.network import Network
from qcompile.quantizer.options import Widths

OTHER_BITS = 8
AVERAGING = ("AveragePool", "GlobalAveragePool")


@dataclass(frozen=True)
class Place:
    """A quantizer of `value` to `bits` bits; `mark` tells it from others of the same value."""

    value: str
    bits: int
    mark: str = ""


# By the first result of a node and the index of its input.
Places = dict[tuple[str, int], Place]


def place(network: Network, widths: Mapping[str, Widths], equal_adds: bool = False) -> Places:
    """The quantizers, each at all the inputs that read through it."""
    places: Places = {}
    for node in network.nodes:
        layer = network.layer(node)
        if layer is not None:
            places[node.output[0], 0] = Place(node.input[0], widths[layer.name].activations)
        elif node.op_type in AVERAGING:
            places[node.output[0], 0] = Place(node.input[0], OTHER_BITS)
    _place_adds(network, places, equal_adds)
    return places


def _place_adds(network: Network, places: Places, equal: bool) -> None:
    order = {name: k for k, node in enumerate(network.nodes) for name in node.output}
    read = {p.value: p for p in sorted(places.values(), key=lambda p: p.bits)}
    from_layers = {layer.output for layer in network.layers.values()}
    for node in network.nodes:
        if node.op_type != "Add" or set(node.input) & set(network.constants):
            continue
        latest = max(range(2), key=lambda k: order.get(node.input[k], -1))
        for k, value in enumerate(node.input):
            if equal:
                places[node.output[0], k] = Place(value, OTHER_BITS, node.output[0])
            elif value in read:
                places[node.output[0], k] = read[value]
            elif k != latest or value not in from_layers:
                places[node.output[0], k] = Place(value, OTHER_BITS)


def first_and_last(network: Network) -> set[str]:
    """The names of layers that an input reaches, or that reach an output, by no other layer."""
    return _first(network) | _last(network)


def _first(network: Network) -> set[str]:
    reached, found = {value.name for value in network.inputs}, set()
    for node in network.nodes:
        if reached.isdisjoint(node.input):
            continue
        layer = network.layer(node)
        if layer is None:
            reached |= set(node.output)
        else:
            found.add(layer.name)
    return found


def _last(network: Network) -> set[str]:
    reaching, found = set(network.outputs), set()
    for node in reversed(network.nodes):
        layer = network.layer(node)
        results = set(node.output) if layer is None else {layer.output}
        if reaching.isdisjoint(results):
            continue
        if layer is None:
            reaching |= set(node.input)
        else:
            found.add(layer.name)
    return found
