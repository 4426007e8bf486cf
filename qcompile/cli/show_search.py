"""What `search` prints."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from qcompile.cli.tables import kibibytes, percent, print_table, printable

if TYPE_CHECKING:
    from qcompile.search.loop.co_design import CoDesign
    from qcompile.search.loop.points import Point
    from qcompile.search.loop.results import DeviceResult, SearchResult


PLAIN_S = 5.0  # between two lines of one stage


class SearchLines:
    """Prints what a search does, line by line, with the minutes since it began."""

    def __init__(self) -> None:
        self._start = self._told = time.monotonic()

    def say(self, text: str) -> None:
        self._told = time.monotonic()
        minutes, seconds = divmod(int(self._told - self._start), 60)
        print(f"{minutes:3d}:{seconds:02d}  {printable(text)}", file=sys.stderr, flush=True)

    def step(self, stage: str, done: int, total: int) -> None:
        """Say it where nothing was said for a while."""
        if time.monotonic() - self._told >= PLAIN_S:
            self.say(f"{stage} ({done} of {total})" if total else stage)

    def point(self, point: Point, device: str) -> None:
        found = point.on[device]
        told = [f"{device}: {point.name}"]
        if found.predicted_s is not None:
            told.append(f"predicted {_ms(found.predicted_s)} ms")
        if found.measured_s is None:
            told.append(found.status)
        else:
            told += [f"takes {_ms(found.measured_s)} ms", f"accuracy {percent(found.accuracy)}"]
        self.say(", ".join(told))


def show_search(found: SearchResult) -> None:
    """Each device's front, and where everything is."""
    print(f"float32: {percent(found.float_accuracy)} of {found.material.labelled.count:,} samples")
    for each in found.devices:
        print()
        _show_device(each)
    if found.serving_all is not None and len(found.devices) > 1:
        print(printable(f"\nserves all devices: {found.serving_all.name}"))
    print(printable(f"\nwrote {found.output} (pareto.json, report.md, best/)"))


def show_co_design(made: CoDesign) -> None:
    """The front of a co-search."""
    found = made.found
    rows = [
        [
            point.design.name,
            percent(point.accuracy),
            _ms(point.seconds),
            percent(point.area.share),
            "best" if point is found.best else point.status,
        ]
        for point in [found.baseline, *(p for p in found.front if p is not found.baseline)]
    ]
    print_table([f"design on {found.board}", ">accuracy", ">ms simulated", ">area", ""], rows)
    print(printable(f"\nwrote {made.output} (pareto.json, report.md, best/)"))


def _show_device(each: DeviceResult) -> None:
    name = each.where.name
    rows = [_row(point, each) for point in each.front]
    print_table([name, ">accuracy", f">ms {each.where.kind}", ">spread", ">weights", ""], rows)
    for line in each.narrow:
        print(printable(line))


def _row(point: Point, each: DeviceResult) -> list[str]:
    on = point.on[each.where.name]
    best = each.best is not None and point.name == each.best.name
    return [
        point.name,
        percent(on.accuracy),
        _ms(on.measured_s),
        percent(on.spread),
        kibibytes(point.weight_bytes),
        "best" if best else "",
    ]


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1e3 * seconds:.4g}"
