"""Checks of the values in a problem: each says where, what was found, and what would work."""

import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

from qcompile.errors import InvalidProblem
from qcompile.search.solver.problem import SENSITIVITY

WIDEST_BITS = 32  # float32, for layers that may stay so


def number(value: Any, where: str, least: float = -math.inf) -> float:
    """A finite number of at least `least`."""
    wanted = "a finite number" if least == -math.inf else f"a finite number of at least {least:g}"
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InvalidProblem(f"{where}: found {value!r}; {wanted} would work")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found) or found < least:
        raise InvalidProblem(f"{where}: found {value!r}; {wanted} would work")
    return found


def quantity(value: Any, name: str, where: str) -> float:
    """A sensitivity, which an estimate may make negative, or a cost, which is at least 0."""
    return number(value, f"{where}: {name!r}", -math.inf if name == SENSITIVITY else 0)


def width(value: Any, where: str) -> int:
    """A number of bits."""
    good = isinstance(value, Integral) and not isinstance(value, bool)
    if not good or not 1 <= value <= WIDEST_BITS:
        raise InvalidProblem(
            f"{where}: found {value!r}; a whole number of bits from 1 to {WIDEST_BITS} would work"
        )
    return int(value)


def text(value: Any, where: str) -> str:
    """A text of at least one character."""
    if not isinstance(value, str) or not value:
        raise InvalidProblem(f"{where}: found {value!r}; a text would work")
    return value


def mapping(value: Any, where: str) -> Mapping[str, Any]:
    """An object whose keys are texts."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise InvalidProblem(f"{where}: found {_short(value)}; an object with names would work")
    return value


def sequence(value: Any, where: str, count: int | None = None, what: str = "entries") -> list[Any]:
    """A list, of `count` entries where that is known."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    wanted = f"a list of {what if count is None else f'{count} {what}'}"
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise InvalidProblem(f"{where}: found {_short(value)}; {wanted} would work")
    if count is not None and len(value) != count:
        raise InvalidProblem(f"{where}: found {len(value)} {what}; {wanted} would work")
    return list(value)


def known_keys(value: Any, where: str, required: Sequence[str], optional: Sequence[str]) -> None:
    """Raise InvalidProblem unless an object has the required keys and none but these."""
    keys = mapping(value, where)
    if missing := [key for key in required if key not in keys]:
        raise InvalidProblem(f"{where}: found no {missing[0]!r} among {list(keys)}; it is required")
    if other := [key for key in keys if key not in (*required, *optional)]:
        raise InvalidProblem(
            f"{where}: found the unknown key {other[0]!r}; "
            f"{', '.join(map(repr, (*required, *optional)))} would work"
        )


def _short(value: Any) -> str:
    """A value as a message shows it."""
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
