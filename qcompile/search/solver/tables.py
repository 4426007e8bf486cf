"""Costs by layer and widths, as HAQ keeps them: table[layer][w - 1][a - 1]."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qcompile.errors import InvalidProblem
from qcompile.files import expect_regular
from qcompile.search.solver.values import mapping, quantity, sequence, width

Table = list[list[list[float | None]]]  # None where the cost is unknown


def read_tables(content: Any, layers: Sequence[str], folder: Path) -> dict[str, Table]:
    """The tables by the name of their cost. Raises InvalidProblem."""
    return {
        name: _table(table, name, layers, folder)
        for name, table in mapping(content, "'tables'").items()
    }


def entry(tables: dict[str, Table], name: str, layer: int, w: int, a: int, where: str) -> float:
    """The cost of the widths in a table. Raises InvalidProblem where it is unknown."""
    rows = tables[name][layer]
    found = rows[w - 1][a - 1] if w <= len(rows) and a <= len(rows[w - 1]) else None
    if found is None:
        raise InvalidProblem(
            f"{where}: the table {name!r} knows no w{w}a{a} of this layer; "
            "give it there, or leave these widths out"
        )
    return found


def common_widths(tables: dict[str, Table], layer: int) -> list[tuple[int, int]]:
    """The widths (w, a) of a layer that all tables know."""
    known = [
        {
            (w, a)
            for w, row in enumerate(table[layer], 1)
            for a, value in enumerate(row, 1)
            if value is not None
        }
        for table in tables.values()
    ]
    return sorted(set.intersection(*known)) if known else []


def _table(content: Any, name: str, layers: Sequence[str], folder: Path) -> Table:
    where = f"table {name!r}"
    if isinstance(content, str):
        content = _array(folder / content, where)
    matrices = sequence(content, where, len(layers), "matrices, one per layer")
    return [
        _matrix(matrix, name, f"{where}, layer {layer!r}")
        for matrix, layer in zip(matrices, layers, strict=True)
    ]


def _matrix(content: Any, name: str, where: str) -> list[list[float | None]]:
    rows = [sequence(row, f"{where}, w {w}") for w, row in enumerate(sequence(content, where), 1)]
    width(max([len(rows), *map(len, rows)]), f"{where}: its largest width")
    return [
        [
            None if value is None else quantity(value, name, f"{where}, w {w}, a {a}")
            for a, value in enumerate(row, 1)
        ]
        for w, row in enumerate(rows, 1)
    ]


def _array(path: Path, where: str) -> Any:
    """The content of a .npy file as lists, None for NaN."""
    try:
        expect_regular(path)
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InvalidProblem(f"{where}: {path} cannot be read: {error}") from error
    if not isinstance(array, np.ndarray) or array.ndim != 3 or array.dtype.kind not in "fiu":
        found = f"{array.ndim}-D {array.dtype}" if isinstance(array, np.ndarray) else "an archive"
        raise InvalidProblem(
            f"{where}: {path} holds {found}; "
            "a 3-D array of numbers [layer][w - 1][a - 1] would work"
        )
    return [
        [[None if math.isnan(value) else value for value in row] for row in matrix]
        for matrix in array.tolist()
    ]
