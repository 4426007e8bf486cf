"""report.md: what a search found, for people."""

from collections.abc import Iterable, Sequence

from qcompile.search.loop.front import INT8, alike, time_of
from qcompile.search.loop.points import Point
from qcompile.search.loop.results import DeviceResult, SearchResult, commands

PLOTTED = ("front", "bits", "predicted", "sensitivity")


def report(found: SearchResult, agreement: Sequence[str], plots: Iterable[str]) -> str:
    """The text of report.md. agreement: lines on how kinds of sensitivity rank alike."""
    request = found.material.request
    lines = [
        f"# Bit widths of {request.model.name}",
        "",
        f"{found.material.labelled.count:,} labelled samples; the float network: "
        f"{100 * found.float_accuracy:.2f} %. {len(found.points)} networks tried in "
        f"{found.seconds / 60:.1f} minutes.",
    ]
    if found.material.borrowed:
        lines += [
            "",
            "Calibrated on samples of the labelled data, without their labels: accuracies may look "
            "a little better than on data that the quantizer never saw (give --calibration).",
        ]
    for each in found.devices:
        lines += ["", *_device(found, each)]
    if len(found.devices) > 1:
        lines += ["", "## All devices", "", _serving_all(found)]
    lines += ["", "## Sensitivities", "", *agreement]
    lines += ["", *(f"![{name}]({name})" for name in plots)]
    return "\n".join(lines) + "\n"


def _device(found: SearchResult, each: DeviceResult) -> list[str]:
    where = each.where
    lines = [f"## {where.name}", "", f"Times are {where.kind} ({where.device})."]
    if each.best is None:
        lines.append("No assignment keeps what was asked for; see the points below.")
    else:
        lines += [f"Best: **{each.best.name}**, made again by", ""]
        lines += [f"    {command}" for command in commands(found, each.best, each)]
    lines += ["", *each.narrow, ""]
    lines += [
        "| assignment | accuracy % | ms | spread % | predicted ms | error % | KiB | GBOPS | |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    tried = [p for p in found.points if where.name in p.on]
    lines += [_row(found, each, point) for point in sorted(tried, key=lambda p: _order(p, each))]
    lines += ["", "| round | tried | largest error of predictions % | after the correction % |"]
    lines += ["| ---: | ---: | ---: | ---: |"]
    lines += [
        f"| {one.number} | {one.tried} | {_percent(one.error)} | {_percent(one.fitted_error)} |"
        for one in each.rounds
    ]
    return lines


def _order(point: Point, each: DeviceResult) -> tuple[bool, float]:
    return not point.measured(each.where.name), time_of(point, each.where.name)


def _row(found: SearchResult, each: DeviceResult, point: Point) -> str:
    on = point.on[each.where.name]
    marks = ["front"] if point in each.front else []
    marks += ["best"] if point == each.best else []
    marks += [on.status] if on.status != "measured" else []
    if _as_fast(found, each.where.name, point):
        marks.append("as fast as 8 bits")
    cells = [
        point.name,
        _percent(on.accuracy),
        _ms(on.measured_s),
        _percent(on.spread),
        _ms(on.predicted_s),
        _percent(on.error),
        f"{point.weight_bytes / 1024:.1f}",
        "" if point.bops is None else f"{point.bops / 1e9:.3f}",
        ", ".join(marks),
    ]
    return "| " + " | ".join(cells) + " |"


def _as_fast(found: SearchResult, device: str, point: Point) -> bool:
    """Whether narrower widths bring no time against uniform 8 bits."""
    reference = next((p for p in found.points if p.name == INT8 and p.measured(device)), None)
    if reference is None or point == reference or not point.measured(device) or not point.bits:
        return False
    return alike(point, reference, device)


def _serving_all(found: SearchResult) -> str:
    if found.serving_all is None:
        return "No assignment that was measured everywhere keeps the accuracy."
    return (
        f"**{found.serving_all.name}** is the accurate enough assignment that compares best with "
        "uniform 8 bits on the device where it compares worst."
    )


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f}"


def _ms(seconds: float | None) -> str:
    return "" if seconds is None else f"{1e3 * seconds:.4g}"
