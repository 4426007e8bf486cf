"""Which values are quantized, and to how many bits.

Every layer's input is, to the layer's width. So are the inputs of poolings that average, to
OTHER_BITS, and those of additions of two values:

    an operand that a layer reads too    shares that layer's codes
    two operands straight from layers    the one computed first has OTHER_BITS, the other goes
                                         from the accumulator into the sum

An operand of other origin has OTHER_BITS.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from qcompile.quantizer.network import Network
from qcompile.quantizer.options import Widths

OTHER_BITS = 8
AVERAGING = ("AveragePool", "GlobalAveragePool")


@dataclass(frozen=True)
class Place:
    """A quantizer of `value` to `bits` bits; `origin` is where it was before it moved."""

    value: str
    bits: int
    origin: str = ""


Places = dict[tuple[str, int], Place]


def place(network: Network, widths: Mapping[str, Widths]) -> Places:
    """The quantizer at an input of a node, by the node's first result and the input's index."""
    places: Places = {}
    for node in network.nodes:
        layer = network.layer(node)
        if layer is not None:
            bits = widths[layer.name].activations
            places[node.output[0], 0] = Place(node.input[0], bits)
        elif node.op_type in AVERAGING:
            places[node.output[0], 0] = Place(node.input[0], OTHER_BITS)
    order = {name: k for k, node in enumerate(network.nodes) for name in node.output}
    read = {p.value: p for p in sorted(places.values(), key=lambda p: p.bits)}
    from_layers = {layer.output for layer in network.layers.values()}
    for node in network.nodes:
        if node.op_type == "Add" and not set(node.input) & set(network.constants):
            latest = max(range(2), key=lambda k: order.get(node.input[k], -1))
            for k, value in enumerate(node.input):
                if value in read:
                    places[node.output[0], k] = read[value]
                elif k != latest or value not in from_layers:
                    places[node.output[0], k] = Place(value, OTHER_BITS)
    return places


def first_and_last(network: Network) -> set[str]:
    """The names of layers that an input reaches, or that reach an output, by no other layer."""
    names = _ends(network.nodes, {value.name for value in network.inputs}, network)
    return names | _ends_backward(network)


def _ends(nodes: tuple[onnx.NodeProto, ...], reached: set[str], network: Network) -> set[str]:
    found = set()
    for node in nodes:
        if reached.isdisjoint(node.input):
            continue
        layer = network.layer(node)
        if layer is None:
            reached |= set(node.output)
        else:
            found.add(layer.name)
    return found


def _ends_backward(network: Network) -> set[str]:
    reaching, found = set(network.outputs), set()
    for node in reversed(network.nodes):
        layer = network.layer(node)
        results = set(node.output) | ({layer.output} if layer else set())
        if reaching.isdisjoint(results):
            continue
        if layer is None:
            reaching |= set(node.input)
        else:
            found.add(layer.name)
    return found
