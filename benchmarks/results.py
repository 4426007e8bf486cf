"""What the measuring programs share: tables, the machine they ran on, and RESULTS.md."""

import argparse
import contextlib
import datetime
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qcompile.targets import host_target

RESULTS = Path(__file__).with_name("RESULTS.md")


@dataclass(frozen=True)
class Table:
    """Rows under a title, in the order of the columns."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | int | float]]

    def __str__(self) -> str:
        cells = [list(self.columns), *[[_cell(value) for value in row] for row in self.rows]]
        widths = [max(len(row[k]) for row in cells) for k in range(len(self.columns))]
        lines = [
            "| " + " | ".join(v.ljust(w) for v, w in zip(row, widths, strict=True)) + " |"
            for row in cells
        ]
        rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
        return "\n".join([f"{self.title}\n", lines[0], rule, *lines[1:]])


@dataclass(frozen=True)
class Report:
    """What one program measured, on which machine."""

    program: str
    tables: Sequence[Table]
    remarks: Sequence[str] = ()
    machine: str = field(default_factory=lambda: machine())

    def __str__(self) -> str:
        return "\n\n".join([self.machine, *map(str, self.tables), *self.remarks])

    def json(self) -> str:
        tables: dict[str, Any] = {
            table.title: [dict(zip(table.columns, row, strict=True)) for row in table.rows]
            for table in self.tables
        }
        return json.dumps(
            {"machine": self.machine, "tables": tables, "remarks": list(self.remarks)}, indent=2
        )

    def append(self, path: Path = RESULTS) -> None:
        """Add a section to the file of results."""
        today = datetime.date.today().isoformat()
        with path.open("a", encoding="utf-8") as file:
            file.write(f"\n## {self.program}, {today}\n\n{self}\n")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of every measuring program."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--record", action="store_true", help="also append to RESULTS.md")
    parser.add_argument(
        "--cache", type=Path, help="keep models and bundles in this folder (default: a temporary)"
    )


@contextlib.contextmanager
def working_folder(cache: Path | None) -> Iterator[Path]:
    """The given folder, made where it is missing, or a temporary one."""
    if cache is not None:
        cache.mkdir(parents=True, exist_ok=True)
        yield cache
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def finish(report: Report, options: argparse.Namespace) -> None:
    """Print the report, and append it where that is asked."""
    print(report.json() if options.json else report)
    if options.record:
        report.append()


def machine() -> str:
    """The processor and its cores."""
    target = host_target()
    name = target.source.removeprefix("detected: ")
    return f"{name}, {target.cores} cores, {target.vector_bytes * 8}-bit vectors"


def _cell(value: str | int | float) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
