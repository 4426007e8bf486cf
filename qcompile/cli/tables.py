"""Tables and numbers for people; columns wrap on a terminal only."""

import sys
from collections.abc import Iterable, Sequence

PLAIN_WIDTH = 1000  # a file or a pipe has no width to keep to


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows of cells; a column whose name starts with `>` is flush right.

    Columns without a single entry are left out.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [[printable(cell) for cell in row] for row in rows]
    used = [k for k in range(len(columns)) if not cells or any(row[k] for row in cells)]
    terminal = sys.stdout.isatty()
    table = Table(
        box=None,
        header_style="bold underline",
        padding=(0, 2, 0, 0),
        pad_edge=False,
    )
    for k in used:
        table.add_column(
            Text(columns[k].removeprefix(">")),
            justify="right" if columns[k].startswith(">") else "left",
            overflow="fold",
            no_wrap=k not in used[-2:],
        )
    for row in cells:
        table.add_row(*(Text(row[k]) for k in used))
    console = Console(width=None if terminal else PLAIN_WIDTH, highlight=False)
    with console.capture() as captured:
        console.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Print `name: value` lines, aligned."""
    pairs = list(facts)
    width = max(len(name) for name, _ in pairs) + 1
    for name, value in pairs:
        print(f"{name + ':':<{width}} {printable(value)}")


def printable(text: str) -> str:
    """`text` without characters that a terminal would obey: names come from files of others."""
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )


def count(number: float) -> str:
    """1 814 073 344 as '1.81 G'."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f}"


def kibibytes(size: int) -> str:
    return f"{size / 1024:,.1f} KiB"


def milliseconds(seconds: float) -> str:
    """At least three digits: 12.3, 1.234, 0.0123."""
    value = 1e3 * seconds
    return f"{value:.1f}" if value >= 10 else f"{value:.3f}" if value >= 0.1 else f"{value:.4f}"


def percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"
