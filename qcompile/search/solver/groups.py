"""Layers that must share widths: those that meet at a residual addition, or read one tensor."""

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

from qcompile.errors import InvalidProblem
from qcompile.search.solver.problem import Group, Layer
from qcompile.search.solver.values import sequence

SHARED = {"same_bits": ("w", "a"), "same_w": ("w",), "same_a": ("a",)}


def read_groups(content: Mapping[str, Any], layers: Sequence[Layer]) -> tuple[Group, ...]:
    """The groups of a problem. Raises InvalidProblem, also where layers have no width in common."""
    return tuple(
        _group(group, layers, section, f"{section!r}, group {k}")
        for section in SHARED
        for k, group in enumerate(sequence(content.get(section, []), f"{section!r}"))
    )


def read_place(layer: Any, layers: Sequence[Layer], where: str) -> int:
    """The place of a layer that is given by its name or its place. Raises InvalidProblem."""
    names = [known.name for known in layers]
    if layer in names:
        return names.index(layer)
    whole = isinstance(layer, Integral) and not isinstance(layer, bool)
    if not whole or not 0 <= layer < len(layers):
        raise InvalidProblem(
            f"{where}: found {layer!r}; a layer's name, or its place from 0 to "
            f"{len(layers) - 1}, would work"
        )
    return int(layer)


def _group(content: Any, layers: Sequence[Layer], section: str, where: str) -> Group:
    places = [read_place(layer, layers, where) for layer in sequence(content, where)]
    if len(places) < 2 or len(set(places)) < len(places):
        raise InvalidProblem(f"{where}: found {content!r}; two or more different layers would work")
    group = Group(tuple(places), SHARED[section])
    offered = [{group.key(choice) for choice in layers[place].choices} for place in places]
    if not set.intersection(*offered):
        told = "; ".join(
            f"{layers[place].name!r} offers {sorted(keys)}"
            for place, keys in zip(places, offered, strict=True)
        )
        raise InvalidProblem(f"{where}: its layers have no width in common: {told}")
    return group
