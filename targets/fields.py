"""What the loaders of target files share: fields, and messages that name what would work."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from qcompile.errors import UnknownTarget


def suggest(name: str, known: Sequence[str]) -> str:
    """The known name that is meant, perhaps, and all of them."""
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{hint} (known: {', '.join(known)})"


def expect_names(found: Mapping[str, Any], known: Sequence[str], what: str) -> None:
    """Raises UnknownTarget unless `found` has exactly the `known` names."""
    for name in found:
        if name not in known:
            raise UnknownTarget(f"unknown {what} {name!r}{suggest(name, known)}")
    for name in known:
        if name not in found:
            raise UnknownTarget(f"{what} {name!r} is missing")


def expect_clock(fields: Mapping[str, Any]) -> float:
    clock_hz = fields["clock_hz"]
    if type(clock_hz) not in (int, float) or not 0 < clock_hz < float("inf"):
        raise UnknownTarget(f"clock_hz = {clock_hz!r}: expected a positive number of hertz")
    return float(clock_hz)


def expect_source(fields: Mapping[str, Any]) -> str:
    source = fields["source"]
    if not isinstance(source, str) or not source.strip():
        raise UnknownTarget(f"source = {source!r}: expected where the facts come from")
    return source
