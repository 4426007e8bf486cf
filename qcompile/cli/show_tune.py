"""What `tune` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qcompile.cli.tables import count, percent, print_table, printable
from qcompile.tuning.kinds import VTA

if TYPE_CHECKING:
    from qcompile.tuning.result import TuneResult

MESSAGE_LENGTH = 200


def show_tune(found: TuneResult, command: str) -> None:
    """Every task, the totals, what failed, and what to do next.

    command: that compiles with the records, its folder left out.
    """
    rows = [
        (
            task.name,
            str(task.calls),
            percent(task.share),
            microseconds(task.default_s),
            microseconds(task.best_s),
            saved(task.gain),
            part(task.of_limit),
            f"{task.trials} of {task.candidates}",
            str(task.failed) if task.failed else "",
        )
        for task in sorted(found.tasks, key=lambda task: -task.share)
    ]
    times = [">us before", ">us after", ">gain", ">of limit"]
    print_table(["task", ">calls", ">share", *times, ">trials", ">failed"], rows)
    print()
    _show_totals(found)
    _show_failures(found)
    for device in found.lost:
        print(f"lost: {printable(device)}")
    if str(found.skipped):
        print(printable(str(found.skipped)))
    print(f"records: {printable(str(found.records))}; compile with them:")
    print(f"    {printable(command)}")
    if found.interrupted is not None:
        print("interrupted: nothing measured is lost; the same command goes on from here")


def _show_totals(found: TuneResult) -> None:
    if found.before_s and all(task.default_s for task in found.tasks):
        gain = saved(1 - found.after_s / found.before_s)
        print(
            f"all tuned kernels: {duration(found.before_s)} before, "
            f"{duration(found.after_s)} after, gain {gain}"
        )
    before = f"; {found.known} were known before" if found.known else ""
    print(f"trials: {found.measured} measured now{before}")
    if found.measured + found.known >= sum(task.candidates for task in found.tasks):
        print("every candidate there is has been measured")
    if found.limits:
        rates = ", ".join(f"{name} {count(rate)}" for name, rate in found.limits.items())
        cores = "a core" if found.threads == 1 else f"{found.threads} cores"
        unit = "VTA's GEMM unit" if VTA in found.limits else cores
        print(f"arithmetic limit of {unit}, products a second: {rates}")
    _show_head_start(found)


def _show_head_start(found: TuneResult) -> None:
    if not found.earlier:
        return
    told = f"started from {found.earlier} measurements of other layers"
    if (head := found.head_start) is not None:
        tasks = "the one better task" if head.tasks == 1 else f"the {head.tasks} tasks that gained"
        told += (
            f": of {tasks} they ranked the best at place {head.with_model:.0f} of "
            f"{head.candidates:.0f} (median) before any trial, without them it is at "
            f"{head.without:.0f}"
        )
    print(told)


def _show_failures(found: TuneResult) -> None:
    """Each kind once, with the first message."""
    kinds: dict[str, list[tuple[str, str]]] = {}
    for task, failure in found.failures:
        kinds.setdefault(failure.kind, []).append((task, failure.message))
    for kind, failures in kinds.items():
        task, message = failures[0]
        text = printable(" ".join(message.split())[:MESSAGE_LENGTH])
        print(f"failed: {len(failures)} x {kind}, first {printable(task)}: {text}")


def microseconds(seconds: float | None) -> str:
    """Three digits."""
    if seconds is None:
        return "-"
    value = 1e6 * seconds
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.3g}"


def duration(seconds: float) -> str:
    """Three or four digits, with a unit."""
    return f"{1e3 * seconds:.4g} ms" if seconds >= 1e-3 else f"{microseconds(seconds)} us"


def saved(gain: float | None) -> str:
    return "-" if gain is None else f"{100 * gain:.1f} %"


def part(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"
