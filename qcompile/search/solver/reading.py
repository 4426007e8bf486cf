"""From JSON, or Python objects of the same form, to a checked problem. problem.py has the form."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qcompile.errors import InvalidProblem
from qcompile.files import expect_regular
from qcompile.search.solver.groups import read_groups
from qcompile.search.solver.neighbours import read_pairs
from qcompile.search.solver.problem import SENSITIVITY, Choice, Layer, Problem
from qcompile.search.solver.tables import Table, common_widths, entry, read_tables
from qcompile.search.solver.values import (
    known_keys,
    mapping,
    number,
    quantity,
    sequence,
    text,
    width,
)

SECTIONS = ("same_bits", "same_w", "same_a", "pairs", "tables", "budgets")
NOT_LOOKED_AT = ("network", "units", "optimum")
WIDTHS = ("bits", "w", "a", "kernel")  # what is no cost among the keys of a choice


def read_problem(source: Problem | Mapping[str, Any] | str | Path) -> Problem:
    """The problem of a file or of an object like it. Raises InvalidProblem that says where."""
    if isinstance(source, Problem):
        return source
    if isinstance(source, Mapping):
        return _problem(source, Path())
    path = Path(source)
    try:
        return _problem(_load(path), path.parent)
    except InvalidProblem as error:
        raise InvalidProblem(f"{path}: {error}") from error


def read_budget(budget: Any, quantities: Sequence[str], where: str = "budget") -> dict[str, float]:
    """The largest total allowed of each quantity that is limited. Raises InvalidProblem."""
    limits = mapping(budget, where)
    for name, limit in limits.items():
        if name not in quantities:
            raise InvalidProblem(
                f"{where}: found {name!r}, which is no cost of the problem; "
                f"{', '.join(map(repr, quantities))} would work"
            )
        if number(limit, f"{where} {name!r}") <= 0:
            raise InvalidProblem(f"{where} {name!r}: found {limit!r}; more than 0 would work")
    return {name: float(limit) for name, limit in limits.items()}


def _load(path: Path) -> Any:
    try:
        expect_regular(path)
        return json.loads(
            path.read_text(encoding="utf-8"),
            object_pairs_hook=_distinct,
            parse_constant=_no_constant,
        )
    except OSError as error:
        raise InvalidProblem(f"cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidProblem(f"is no JSON: {error}") from error


def _distinct(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """The object, where no key comes twice."""
    content = dict(pairs)
    if len(content) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise InvalidProblem(f"{twice!r} comes twice in one object; each key comes once")
    return content


def _no_constant(constant: str) -> Any:
    raise InvalidProblem(f"found {constant}; finite numbers would work")


def _problem(content: Any, folder: Path) -> Problem:
    known_keys(content, "the problem", ["layers"], [*SECTIONS, *NOT_LOOKED_AT])
    raw = sequence(content["layers"], "'layers'", what="layers")
    if not raw:
        raise InvalidProblem("'layers': found none; a problem has at least one layer")
    for place, layer in enumerate(raw):
        known_keys(layer, f"layer {place}", ["name"], ["choices"])
    names = [text(layer["name"], f"layer {place}: 'name'") for place, layer in enumerate(raw)]
    if (count := Counter(names).most_common(1)[0])[1] > 1:
        raise InvalidProblem(f"layer {count[0]!r}: comes {count[1]} times; names are distinct")
    tables = read_tables(content.get("tables", {}), names, folder)
    layers = tuple(_layer(layer, place, tables) for place, layer in enumerate(raw))
    quantities = _same_quantities(layers)
    budgets = mapping(content.get("budgets", {}), "'budgets'")
    return Problem(
        layers,
        read_groups(content, layers),
        read_pairs(content.get("pairs", []), layers, quantities),
        {name: read_budget(b, quantities, f"budgets {name!r}:") for name, b in budgets.items()},
    )


def _layer(content: Mapping[str, Any], place: int, tables: dict[str, Table]) -> Layer:
    name = content["name"]
    if "choices" in content:
        raw = sequence(content["choices"], f"layer {name!r}: 'choices'", what="choices")
    else:
        raw = [{"w": w, "a": a} for w, a in common_widths(tables, place)]
    if not raw:
        raise InvalidProblem(
            f"layer {name!r}: found no widths; list at least one in 'choices', or in every table"
        )
    choices = tuple(
        _choice(choice, f"layer {name!r}, choice {k}", place, tables)
        for k, choice in enumerate(raw)
    )
    if (count := Counter(map(str, choices)).most_common(1)[0])[1] > 1:
        raise InvalidProblem(
            f"layer {name!r}: {count[0]} comes {count[1]} times; "
            "choices differ in a width or in 'kernel'"
        )
    return Layer(name, choices)


def _choice(content: Any, where: str, place: int, tables: dict[str, Table]) -> Choice:
    keys = mapping(content, where)
    given = [key for key in ("bits", "w", "a") if key in keys]
    if given not in (["bits"], ["w", "a"]):
        raise InvalidProblem(f"{where}: found the widths {given}; 'bits', or 'w' and 'a', would do")
    w, a = (width(keys[given[k]], f"{where}: {given[k]!r}") for k in (0, -1))
    values = {name: quantity(keys[name], name, where) for name in keys if name not in WIDTHS}
    for name in tables:
        if name in values:
            raise InvalidProblem(f"{where}: {name!r} also has a table; give it in one place")
        values[name] = entry(tables, name, place, w, a, where)
    kernel = text(keys["kernel"], f"{where}: 'kernel'") if "kernel" in keys else None
    if SENSITIVITY not in values:
        raise InvalidProblem(f"{where}: found no {SENSITIVITY!r}; give it here or as a table")
    return Choice(w, a, kernel, values)


def _same_quantities(layers: Sequence[Layer]) -> list[str]:
    """The quantities of the first choice. Raises InvalidProblem where another has others."""
    wanted = list(layers[0].choices[0].values)
    for layer in layers:
        for k, choice in enumerate(layer.choices):
            if other := sorted(set(choice.values) ^ set(wanted)):
                found = "found no" if other[0] in wanted else "found the unknown cost"
                raise InvalidProblem(
                    f"layer {layer.name!r}, choice {k}: {found} {other[0]!r}; "
                    f"it has what the first choice of the problem has: {wanted}"
                )
    return wanted
