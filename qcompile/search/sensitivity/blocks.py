"""Cut a network where only one tensor is alive."""

from collections.abc import Collection
from dataclasses import dataclass

import onnx

from qcompile.quantizer.network import Network


@dataclass(frozen=True)
class Block:
    """The nodes from `start` to before `stop`; `outputs` are what others read of its results."""

    start: int
    stop: int
    outputs: tuple[str, ...]


def results(network: Network, node: onnx.NodeProto) -> list[str]:
    """The names of what the node gives; a layer gives what was folded into it, too."""
    layer = network.layer(node)
    return [layer.output] if layer is not None else list(node.output)


def blocks_of(network: Network, floats: Collection[str]) -> list[Block]:
    """All nodes, in blocks with a layer in each.

    A block ends before a layer, where one tensor of `floats` alone is read by any node behind:
    what follows a layer up to the next one belongs to it.
    """
    nodes = network.nodes
    last_read = {name: k for k, node in enumerate(nodes) for name in node.input}
    alive = {value.name for value in network.inputs if value.name in floats}
    found, start, layers, made = [], 0, 0, set[str]()
    for k, node in enumerate(nodes):
        layers += network.layer(node) is not None
        fresh = [name for name in results(network, node) if name in floats]
        made.update(fresh)
        alive = {name for name in (*alive, *fresh) if last_read.get(name, -1) > k}
        ends = k + 1 == len(nodes)
        cut = len(alive) == 1 and not ends and network.layer(nodes[k + 1]) is not None
        if ends or (cut and layers):
            outputs = [name for name in made if name in alive or name in network.outputs]
            found.append(Block(start, k + 1, tuple(sorted(outputs))))
            start, layers, made = k + 1, 0, set()
    return found
