"""The integer program of a problem: which variables there are, and what every assignment obeys.

One binary x[l, k] per layer l and choice k, sum_k x[l, k] = 1. For a pair of layers l, m one
binary y[i, k] with sum_k y[i, k] = x[l, i] and sum_i y[i, k] = x[m, k]: y is the product x[l, i]
x[m, k], so that what neighbours cost together is linear. Choices with equal costs beside every
neighbour are one i (or k), and x[l, i] the sum of theirs: hand-over costs often know a few kinds of
choices alone. A group has, for every width, the same sum over the choices of this width in each of
its layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from qcompile.search.solver.problem import Group, Pair, Problem

Row = dict[int, float]  # coefficients by variable


@dataclass(frozen=True)
class Kinds:
    """A pair of layers: the kind of each choice, and what each two kinds cost together."""

    layers: tuple[int, int]
    rows: list[int]
    columns: list[int]
    values: dict[str, NDArray[np.float64]]  # (kinds of rows, kinds of columns)

    @property
    def shape(self) -> tuple[int, int]:
        return max(self.rows) + 1, max(self.columns) + 1


@dataclass(frozen=True)
class Program:
    """Variables in blocks, one per layer, then one per pair; equality @ variables = right."""

    blocks: tuple[slice, ...]
    layers: int
    kinds: tuple[Kinds, ...]
    equality: csr_array
    right: NDArray[np.float64]
    values: dict[str, NDArray[np.float64]]  # of every quantity, by variable

    def chosen(self, variables: NDArray[np.float64]) -> list[int]:
        """The choice of each layer."""
        return [int(np.argmax(variables[block])) for block in self.blocks[: self.layers]]

    def ones(self, chosen: Sequence[int]) -> list[int]:
        """The variables that these choices set to one, one of each block."""
        places = list(chosen)
        for pair in self.kinds:
            row, column = pair.rows[chosen[pair.layers[0]]], pair.columns[chosen[pair.layers[1]]]
            places.append(row * pair.shape[1] + column)
        return [block.start + place for block, place in zip(self.blocks, places, strict=True)]


def program(problem: Problem) -> Program:
    """The integer program of a problem."""
    counts = [len(layer.choices) for layer in problem.layers]
    kinds = tuple(_kinds(pair) for pair in problem.pairs)
    counts += [pair.shape[0] * pair.shape[1] for pair in kinds]
    ends = np.cumsum(counts).tolist()
    blocks = tuple(slice(end - count, end) for end, count in zip(ends, counts, strict=True))
    ones: list[Row] = [
        dict.fromkeys(range(block.start, block.stop), 1.0)
        for block in blocks[: len(problem.layers)]
    ]
    rows = [*ones, *_marginals(kinds, blocks)]
    rows += [row for group in problem.groups for row in _agreement(group, problem, blocks)]
    return Program(
        blocks,
        len(problem.layers),
        kinds,
        _matrix(rows, ends[-1]),
        np.array([1.0] * len(ones) + [0.0] * (len(rows) - len(ones))),
        {name: _values(problem, kinds, name) for name in problem.quantities},
    )


def _kinds(pair: Pair) -> Kinds:
    """Choices with equal rows (or columns) in all matrices are of one kind."""
    stacked = np.stack(list(pair.values.values()))
    across = np.moveaxis(stacked, 1, 0).reshape(stacked.shape[1], -1)
    down = np.moveaxis(stacked, 2, 0).reshape(stacked.shape[2], -1)
    _, first_rows, rows = np.unique(across, axis=0, return_index=True, return_inverse=True)
    _, first_columns, columns = np.unique(down, axis=0, return_index=True, return_inverse=True)
    values = {name: v[np.ix_(first_rows, first_columns)] for name, v in pair.values.items()}
    return Kinds(pair.layers, rows.ravel().tolist(), columns.ravel().tolist(), values)


def _marginals(kinds: Sequence[Kinds], blocks: Sequence[slice]) -> list[Row]:
    """The sums of y over the kinds of one of its two layers equal the x of the other's."""
    rows: list[Row] = []
    for pair, block in zip(kinds, blocks[len(blocks) - len(kinds) :], strict=True):
        y = np.arange(block.start, block.stop).reshape(pair.shape)
        for place, of_choice, lines in zip(
            pair.layers, (pair.rows, pair.columns), (y, y.T), strict=True
        ):
            for kind, line in enumerate(lines.tolist()):
                own = [blocks[place].start + k for k, of in enumerate(of_choice) if of == kind]
                rows.append({**dict.fromkeys(line, 1.0), **dict.fromkeys(own, -1.0)})
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


def _values(problem: Problem, kinds: Sequence[Kinds], name: str) -> NDArray[np.float64]:
    """One quantity by variable."""
    parts = [[choice.values[name] for choice in layer.choices] for layer in problem.layers]
    parts += [pair.values.get(name, np.zeros(pair.shape)).ravel().tolist() for pair in kinds]
    return np.array([value for part in parts for value in part], "float64")


def _matrix(rows: Sequence[Row], columns: int) -> csr_array:
    places = [(r, column) for r, row in enumerate(rows) for column in row]
    data = [value for row in rows for value in row.values()]
    r, c = np.array(places, "int32").T
    return csr_array((data, (r, c)), shape=(len(rows), columns))
