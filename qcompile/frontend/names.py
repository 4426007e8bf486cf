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
        self._repeated: Counter[str] = Counter()
        self._used: set[str] = set()

    def next(self, node: onnx.NodeProto) -> str:
        """The name of a node; nodes come in topological order."""
        base = node.name or f"{node.op_type}_{self._seen[node.op_type]}"
        self._seen[node.op_type] += 1
        name = base
        while name in self._used or (name in self._given and name != node.name):
            self._repeated[base] += 1
            name = f"{base}_{self._repeated[base]}"
        self._used.add(name)
        return name


def identifier(name: str, taken: set[str]) -> str:
    """A valid and free identifier that resembles `name`."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII) or "input"
    plain = f"input_{plain}" if plain[0].isdigit() else plain
    number, free = 0, plain
    while free in taken:
        number += 1
        free = f"{plain}_{number}"
    return free
