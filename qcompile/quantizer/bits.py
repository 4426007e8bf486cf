"""Bit widths of layers, as bits.json holds them.

    {"layers": {"<layer's name>": {"w": 4, "a": 8}}}

`w` is the width of the weights, `a` that of the layer's input. A width that is not given is 8.
"""

import difflib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from qcompile.errors import InvalidInput
from qcompile.files import expect_regular
from qcompile.quantizer.options import QuantizeOptions, Widths

FORM = 'the form is {"layers": {"<layer>": {"w": 4, "a": 8}}}'
SHOWN = 12  # names of layers in a message


def read_bits(path: str | Path) -> dict[str, Widths]:
    """The widths in the file. Raises InvalidInput."""
    try:
        expect_regular(path)
        content = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path}: no JSON: {error}") from error
    try:
        return bits_of(content)
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}") from error


def bits_of(content: Any) -> dict[str, Widths]:
    """The widths in what a bits.json holds. Raises InvalidInput."""
    if not isinstance(content, dict) or set(content) != {"layers"}:
        raise InvalidInput(FORM)
    layers = content["layers"]
    if not isinstance(layers, dict):
        raise InvalidInput(f"`layers` is no object; {FORM}")
    found = {}
    for name, entry in layers.items():
        if not isinstance(entry, dict) or set(entry) - {"w", "a"}:
            raise InvalidInput(f"layer '{name}': {json.dumps(entry)[:80]}; {FORM}")
        try:
            found[name] = Widths(entry.get("w", 8), entry.get("a", 8))
        except InvalidInput as error:
            raise InvalidInput(f"layer '{name}': {error}") from error
    return found


def resolve(names: Iterable[str], ends: set[str], options: QuantizeOptions) -> dict[str, Widths]:
    """The widths of every layer. Raises InvalidInput for names that are no layer's.

    ends: the first and last layers.
    """
    known = list(names)
    _expect_known(options.bits, known)
    widths = {}
    for name in known:
        if options.bits:
            widths[name] = options.bits.get(name, Widths())
        elif name in ends and options.first_last is not None:
            widths[name] = Widths(options.first_last, options.first_last)
        else:
            widths[name] = options.widths
    return widths


def _expect_known(bits: Mapping[str, Widths], known: list[str]) -> None:
    for name in bits:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; is it '{near[0]}'?" if near else ""
            shown = ", ".join(known[:SHOWN]) + (", ..." if len(known) > SHOWN else "")
            raise InvalidInput(f"no layer is called '{name}'{hint} Layers: {shown}")
