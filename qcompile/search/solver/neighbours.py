"""What two layers cost together: repacking, a change of layout or of width between them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcompile.errors import InvalidProblem
from qcompile.search.solver.groups import read_place
from qcompile.search.solver.problem import Layer, Pair
from qcompile.search.solver.values import known_keys, quantity, sequence


def read_pairs(
    content: Any, layers: Sequence[Layer], quantities: Sequence[str]
) -> tuple[Pair, ...]:
    """The pairs of a problem. Raises InvalidProblem."""
    pairs: list[Pair] = []
    for k, raw in enumerate(sequence(content, "'pairs'")):
        where = f"pair {k}"
        known_keys(raw, where, ["layers"], quantities)
        one, other = (
            read_place(layer, layers, where)
            for layer in sequence(raw["layers"], f"{where}: 'layers'", 2, "layers")
        )
        if one == other or any({one, other} == set(pair.layers) for pair in pairs):
            what = "one layer twice" if one == other else "two layers that have a pair already"
            raise InvalidProblem(f"{where}: found {what}; each pair names two layers, once")
        if len(raw) == 1:
            raise InvalidProblem(f"{where}: found no cost; a matrix for one of {quantities} works")
        shape = len(layers[one].choices), len(layers[other].choices)
        values = {
            name: _pair_costs(raw[name], name, shape, where) for name in raw if name != "layers"
        }
        pairs.append(Pair((one, other), values))
    return tuple(pairs)


def _pair_costs(content: Any, name: str, shape: tuple[int, int], where: str) -> NDArray[np.float64]:
    what = "rows, one per choice of the first layer"
    rows = sequence(content, f"{where}: {name!r}", shape[0], what)
    what = "columns, one per choice of the second layer"
    return np.array(
        [
            [
                quantity(value, name, f"{where}, row {k}")
                for value in sequence(row, f"{where}: {name!r}, row {k}", shape[1], what)
            ]
            for k, row in enumerate(rows)
        ],
        "float64",
    )
