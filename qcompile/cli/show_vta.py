"""What `compile` and `check` print of VTA's part of a network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qcompile.cli.tables import print_table, printable
from qcompile.errors import BundleError

if TYPE_CHECKING:
    from qcompile.commands.manifest import Manifest


def show_vta(manifest: Manifest) -> None:
    """The segments with their simulated cycles, and the processor's layers with the reasons."""
    if manifest.vta is None:
        return
    path = manifest.folder / "report.json"
    try:
        report = json.loads(path.read_text(encoding="utf-8"))["vta"]
    except (OSError, ValueError, KeyError) as error:
        raise BundleError(f"{path}: cannot be read: {error}") from error
    show_programs(report)


def show_programs(report: Mapping[str, Any]) -> None:
    """The same of what is known of VTA's part."""
    print(
        f"\nVTA {report['config']}: {report['simulated_cycles']:,} simulated cycles, "
        f"{report['simulated_ms']:.3f} ms at {report['clock_hz'] / 1e6:g} MHz"
    )
    rows = [
        (each["folder"], str(len(each["layers"])), f"{each['cycles']:,}")
        for each in report["segments"]
    ]
    print_table(["segment", ">layers", ">simulated cycles"], rows)
    if report["host_layers"]:
        print()
        reasons = [(printable(x["name"]), x["reason"]) for x in report["host_layers"]]
        print_table(["on the processor", "why"], reasons)
