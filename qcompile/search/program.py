"""The integer program of a problem: which variables there are, and what every assignment obeys.

One binary x[l, k] per layer l and choice k, sum_k x[l, k] = 1. For a pair of layers l, m one
y[i, k] in [0, 1] with sum_k y[i, k] = x[l, i] and sum_i y[i, k] = x[m, k]: with x whole, y is the
product x[l, i] x[m, k], so that what neighbours cost together is linear; on a chain of layers this
form is as tight as linear ones are. A group has, for every width, the same sum over the choices of
this width in each of its layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from qcompile.search.problem import Group, Problem

Row = dict[int, float]  # coefficients by variable


@dataclass(frozen=True)
class Program:
    """Variables in blocks, one per layer, then one per pair; equality @ variables = right."""

    blocks: tuple[slice, ...]
    layers: int
    pairs: tuple[tuple[int, int], ...]
    equality: csr_array
    right: NDArray[np.float64]
    values: dict[str, NDArray[np.float64]]  # of every quantity, by variable

    def chosen(self, variables: NDArray[np.float64]) -> list[int]:
        """The choice of each layer."""
        return [int(np.argmax(variables[block])) for block in self.blocks[: self.layers]]

    def ones(self, chosen: Sequence[int]) -> list[int]:
        """The variables that these choices set to one, one of each block."""
        counts = [block.stop - block.start for block in self.blocks]
        places = list(chosen)
        places += [chosen[one] * counts[other] + chosen[other] for one, other in self.pairs]
        return [block.start + place for block, place in zip(self.blocks, places, strict=True)]


def program(problem: Problem) -> Program:
    """The integer program of a problem."""
    counts = [len(layer.choices) for layer in problem.layers]
    counts += [counts[one] * counts[other] for one, other in (p.layers for p in problem.pairs)]
    ends = np.cumsum(counts).tolist()
    blocks = tuple(slice(end - count, end) for end, count in zip(ends, counts, strict=True))
    ones: list[Row] = [
        dict.fromkeys(range(block.start, block.stop), 1.0)
        for block in blocks[: len(problem.layers)]
    ]
    rows = [*ones, *_marginals(problem, blocks)]
    rows += [row for group in problem.groups for row in _agreement(group, problem, blocks)]
    return Program(
        blocks,
        len(problem.layers),
        tuple(pair.layers for pair in problem.pairs),
        _matrix(rows, ends[-1]),
        np.array([1.0] * len(ones) + [0.0] * (len(rows) - len(ones))),
        {name: _values(problem, name) for name in problem.quantities},
    )


def _marginals(problem: Problem, blocks: Sequence[slice]) -> list[Row]:
    """The sums of y over one of its two layers equal the other's x."""
    rows: list[Row] = []
    for pair, block in zip(problem.pairs, blocks[len(problem.layers) :], strict=True):
        one, other = (blocks[place] for place in pair.layers)
        columns = other.stop - other.start
        y = np.arange(block.start, block.stop).reshape(-1, columns)
        for layer, lines in ((one, y), (other, y.T)):
            for k, line in enumerate(lines.tolist()):
                rows.append({**dict.fromkeys(line, 1.0), layer.start + k: -1.0})
    return rows


def _agreement(group: Group, problem: Problem, blocks: Sequence[slice]) -> list[Row]:
    """Every layer of a group takes the width that its first layer takes."""
    keys = [[group.key(choice) for choice in problem.layers[i].choices] for i in group.layers]
    rows: list[Row] = []
    for width in sorted(set().union(*keys)):
        places = [
            [blocks[i].start + k for k, key in enumerate(keys[j]) if key == width]
            for j, i in enumerate(group.layers)
        ]
        for others in places[1:]:
            rows.append({**dict.fromkeys(places[0], 1.0), **dict.fromkeys(others, -1.0)})
    return rows


def _values(problem: Problem, name: str) -> NDArray[np.float64]:
    """One quantity by variable."""
    parts = [[choice.values[name] for choice in layer.choices] for layer in problem.layers]
    counts = [len(layer.choices) for layer in problem.layers]
    for pair in problem.pairs:
        shape = tuple(counts[place] for place in pair.layers)
        parts.append(pair.values.get(name, np.zeros(shape)).ravel().tolist())
    return np.array([value for part in parts for value in part], "float64")


def _matrix(rows: Sequence[Row], columns: int) -> csr_array:
    places = [(r, column) for r, row in enumerate(rows) for column in row]
    data = [value for row in rows for value in row.values()]
    r, c = np.array(places, "int32").T
    return csr_array((data, (r, c)), shape=(len(rows), columns))
