"""Names of layers and of Relax parameters."""

import re
from collections import Counter
from collections.abc import Iterable

import onnx


def layer_names(nodes: Iterable[onnx.NodeProto]) -> list[str]:
    """A name for each node: its own, or `<OpType>_<k>`, where k counts the nodes of that type.

    Nodes in topological order. A name that another node has already gets a number behind it.
    """
    nodes = list(nodes)
    given = Counter(node.name for node in nodes)
    seen: Counter[str] = Counter()
    used: set[str] = set()
    names = []
    for node in nodes:
        name = node.name or f"{node.op_type}_{seen[node.op_type]}"
        seen[node.op_type] += 1
        taken = used if node.name else used | given.keys()
        names.append(unique(name, taken))
        used.add(names[-1])
    return names


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
