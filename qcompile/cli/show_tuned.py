"""What `compile` prints of tuning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qcompile.cli.tables import printable

if TYPE_CHECKING:
    from qcompile.commands.manifest import TunedKernels


def show_tuned(found: TunedKernels) -> None:
    """How many kernels are tuned, where records were given or had a say."""
    if found.records is None and not (
        found.tuned or found.unknown_decisions or found.other_threads
    ):
        return
    source = "shipped records" if found.records is None else f"records {found.records}"
    parts = [f"tuned {found.tuned} of {found.kernels} kernels ({source})"]
    if found.shipped and found.records is not None:
        parts.append(f"{found.shipped} by shipped records")
    if found.modelled:
        parts.append(f"{found.modelled} by a model")
    if found.tuned < found.kernels:
        parts.append("default elsewhere")
    print(f"\n{printable(', '.join(parts))}")
    if found.unknown_decisions:
        print(
            f"unknown decisions: {found.unknown_decisions} of these kernels have records whose "
            "decisions this version does not know (report.json names their layers)"
        )
    if found.other_threads:
        print(
            f"other threads: {found.other_threads} of these kernels have records, but none for "
            f"--threads {found.threads}"
        )
    if found.skipped:
        print(printable(found.skipped))
