"""Names of layers and of Relax parameters."""

import re
from collections import Counter

import onnx


class LayerNames:
    """Gives every node a name: its own, or `<OpType>_<k>`, where k counts the nodes of that type.

    A name that another node has already gets a number behind it.
    """

    def __init__(self, graph: onnx.GraphProto):
        self._given = {node.name for node in graph.node}
        self._seen: Counter[str] = Counter()
        self._used: set[str] = set()

    def next(self, node: onnx.NodeProto) -> str:
        """The name of a node; nodes come in topological order."""
        name = node.name or f"{node.op_type}_{self._seen[node.op_type]}"
        self._seen[node.op_type] += 1
        name = unique(name, self._used if node.name else self._used | self._given)
        self._used.add(name)
        return name


def unique(name: str, taken: set[str]) -> str:
    """`name`, or the first of `name_1`, `name_2`, ... that is free."""
    if name not in taken:
        return name
    number = 1
    while f"{name}_{number}" in taken:
        number += 1
    return f"{name}_{number}"


def identifier(name: str, taken: set[str]) -> str:
    """A valid and free identifier that resembles `name`."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII) or "input"
    return unique(plain if not plain[0].isdigit() else f"input_{plain}", taken)
