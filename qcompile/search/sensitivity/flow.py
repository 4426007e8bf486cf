"""The float network block by block, and again with one layer changed."""

from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass

import numpy as np
import onnx

from qcompile.errors import InvalidInput, QCompileError
from qcompile.frontend.validate import describe
from qcompile.quantizer.grid import Array
from qcompile.quantizer.layers import Layer
from qcompile.quantizer.network import Network
from qcompile.quantizer.operators import compute
from qcompile.search.sensitivity.blocks import Block, results

Values = dict[str, Array]
Edge = tuple[str, int]  # a node's first result and the index of its input


@dataclass(frozen=True)
class Change:
    """`layer` in place of the one of node `key`, and `inputs` applied where an edge reads."""

    key: str
    layer: Layer
    inputs: Callable[[Array], Array]
    edges: frozenset[Edge]


def forward(network: Network, inputs: Mapping[str, Array]) -> Values:
    """All values of one batch. Raises InvalidInput where a layer's are not finite."""
    values = dict(inputs)
    _run(network, network.nodes, values, inputs)
    for layer in network.layers.values():
        if not np.isfinite(values[layer.output]).all():
            raise InvalidInput(
                f"layer '{layer.name}': its float result on the data is not finite; data as the "
                "network was trained on would work"
            )
    return values


class Stream:
    """The values of the current block for every batch; only what later nodes read is kept."""

    def __init__(self, network: Network, inputs: Mapping[str, list[Array]]) -> None:
        batches = range(len(next(iter(inputs.values()))))
        self.values: list[Values] = [{n: c[k] for n, c in inputs.items()} for k in batches]
        self.block = Block(0, 0, ())
        self._network = network

    def advance(self, block: Block) -> None:
        """Go on to the next block."""
        nodes = self._network.nodes
        needed = {name for node in nodes[block.start :] for name in node.input}
        self.block = block
        for k, values in enumerate(self.values):
            kept = {name: value for name, value in values.items() if name in needed}
            _run(self._network, nodes[block.start : block.stop], kept, {})
            self.values[k] = kept

    def chunks(self, name: str) -> list[Array]:
        """A value, as one array for each batch."""
        return [values[name] for values in self.values]

    def inside(self, batch: int, change: Change) -> Values:
        """What the change makes different in the block."""
        changed: Values = {}
        nodes = self._network.nodes[self.block.start : self.block.stop]
        _run(self._network, nodes, changed, self.values[batch], change)
        return changed

    def behind(self, batch: int, changed: Values) -> Values:
        """Those values, and all behind the block."""
        after = dict(changed)
        _run(self._network, self._network.nodes[self.block.stop :], after, self.values[batch])
        return after


def _run(
    network: Network,
    nodes: Iterable[onnx.NodeProto],
    made: MutableMapping[str, Array],
    known: Mapping[str, Array],
    change: Change | None = None,
) -> None:
    """Put into `made` what the nodes give, where that is not known or something changed."""
    values = ChainMap(made, dict(known), network.constants)
    fresh = set(made)
    for node in nodes:
        edges = [(node.output[0], k) for k in range(len(node.input))]
        reads = change is not None and not change.edges.isdisjoint(edges)
        names = results(network, node)
        if not reads and fresh.isdisjoint(node.input) and all(n in known for n in names):
            continue
        arguments = [values[name] if name else None for name in node.input]
        layer = network.layer(node)
        if change is not None and reads:
            for k, edge in enumerate(edges):
                argument = arguments[k]
                if edge in change.edges and argument is not None:
                    arguments[k] = change.inputs(argument)
            layer = change.layer if node.output[0] == change.key else layer
        made.update(zip(names, _results(network, node, layer, arguments), strict=False))
        fresh.update(names)


def _results(
    network: Network, node: onnx.NodeProto, layer: Layer | None, arguments: list[Array | None]
) -> list[Array]:
    try:
        if layer is not None:
            assert arguments[0] is not None
            return [layer(arguments[0])]
        return compute(node, arguments, network.opset)
    except QCompileError as error:
        raise type(error)(f"{describe(node)}: {error}") from error
