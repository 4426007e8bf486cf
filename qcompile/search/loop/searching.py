"""The whole search: from a request to the results on disk."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from qcompile.arrays import npz_bytes
from qcompile.errors import OutOfReach
from qcompile.files import write_whole
from qcompile.search.loop.fine_tuning import FineTune, tune_front
from qcompile.search.loop.front import best, front, most_accurate, serving_all
from qcompile.search.loop.ledger import Ledger
from qcompile.search.loop.material import read_material
from qcompile.search.loop.points import Point
from qcompile.search.loop.report import report
from qcompile.search.loop.request import Request
from qcompile.search.loop.results import (
    DeviceResult,
    SearchResult,
    keep_best,
    keep_model,
    write_results,
)
from qcompile.search.loop.rounds import Rounds, measured_on
from qcompile.search.loop.scores import measure_scores
from qcompile.search.loop.station import Station
from qcompile.search.loop.store import open_store
from qcompile.search.loop.sweep import Sensitivity
from qcompile.search.loop.watcher import Watcher
from qcompile.search.loop.workshop import Workshop

SECONDS = "seconds"


class Search:
    """One search; `run` does it all, or goes on where a killed one stopped."""

    def __init__(self, request: Request, watcher: Watcher) -> None:
        self.request = request
        self.watcher = watcher
        self.material = read_material(request)
        self.store = open_store(self.material)
        self.workshop = Workshop(self.material, self.store)
        self.ledger = Ledger(self.material, self.workshop, self._point)
        self._before_s = float((self.store.read(SECONDS) or {SECONDS: 0.0})[SECONDS])
        self._start = time.monotonic()
        self.stations = [
            Station(self.material, where, self.store, watcher) for where in request.places
        ]

    def run(self, fine_tune: FineTune | None = None, plots: bool = False) -> SearchResult:
        """What was found, written. Raises QCompileError; what is done by then is kept."""
        with ExitStack() as stack:
            stack.callback(self._keep_seconds)
            for station in self.stations:
                stack.callback(station.close)
            return self._run(fine_tune, plots)

    def _run(self, fine_tune: FineTune | None, plots: bool) -> SearchResult:
        self._keep_calibration()
        self.watcher.say(f"accuracy of {self.request.model.name} on {self._samples()}")
        accuracy = self.workshop.float_accuracy()
        self.watcher.say(f"float32: {100 * accuracy:.2f} %; sensitivities of the layers")
        scores, agreement = measure_scores(self.material, self.store, self.watcher)
        rounds = {s.where.name: self._on_device(s, scores) for s in self.stations}
        if fine_tune is not None:
            tune_front(self.ledger, self.stations, fine_tune, self.watcher.say)
        self._everywhere()
        found = self._result(rounds, self._seconds())
        self._write(found, scores, agreement, plots)
        return found

    def _point(self, point: Point, device: str) -> None:
        """Tell of a point, and keep how long the search has taken, killed runs included."""
        self._keep_seconds()
        self.watcher.point(point, device)

    def _keep_seconds(self) -> None:
        self.store.write(SECONDS, {SECONDS: self._seconds()})

    def _seconds(self) -> float:
        return self._before_s + time.monotonic() - self._start

    def _samples(self) -> str:
        return f"{self.material.labelled.count:,} samples"

    def _keep_calibration(self) -> None:
        if self.material.borrowed:
            path = self.request.output / "calibration.npz"
            write_whole(path, npz_bytes(self.material.calibration))

    def _on_device(self, station: Station, scores: Sensitivity) -> Rounds:
        self._measure_float(station)
        rounds = Rounds(self.material, station, scores, self.ledger, self.watcher.say)
        rounds.run(self.ledger.uniform)
        return rounds

    def _measure_float(self, station: Station) -> None:
        point = self.ledger.add_float()
        self.ledger.put(point.name, station.where.name, measured_on(station, self.ledger, point))

    def _everywhere(self) -> None:
        """Every device's front, measured on the others."""
        names = {
            point.name
            for station in self.stations
            for point in front(self.ledger.points(), station.where.name)
        }
        for station in self.stations:
            for point in [self.ledger.point(name) for name in sorted(names)]:
                if station.where.name not in point.on:
                    found = measured_on(station, self.ledger, point)
                    self.ledger.put(point.name, station.where.name, found)

    def _least_accuracy(self) -> float:
        drop = self.request.drop
        return 0.0 if drop is None else self.workshop.float_accuracy() - drop / 100

    def _result(self, rounds: Mapping[str, Rounds], seconds: float) -> SearchResult:
        points, least = self.ledger.points(), self._least_accuracy()
        devices = tuple(
            DeviceResult(
                station.where,
                station.scales,
                tuple(rounds[station.where.name].done),
                tuple(front(points, station.where.name)),
                best(
                    points,
                    station.where.name,
                    least_accuracy=least,
                    budget_s=self.request.budget_s,
                    budget_bytes=self.request.budget_bytes,
                ),
                station.narrow(),
                station.resources(),
            )
            for station in self.stations
        )
        names = [station.where.name for station in self.stations]
        common = serving_all(points, names, least)
        return SearchResult(
            self.material, self.ledger, devices, common, self.request.output, seconds
        )

    def _write(
        self, found: SearchResult, scores: Sensitivity, agreement: Sequence[str], plots: bool
    ) -> None:
        drawn: list[str] = []
        if plots:
            from qcompile.search.loop.plots import draw_search

            drawn = draw_search(found, scores, found.output)
        write_results(found)
        stations = {station.where.name: station for station in self.stations}
        for each in found.devices:
            if each.best is not None:
                file = self.ledger.model(each.best)
                bundle = stations[each.where.name].bundle(each.best.name, each.best.bits, file)
                keep_best(found, each, each.best, bundle)
        if len(found.devices) > 1 and found.serving_all is not None:
            keep_model(found, found.serving_all, found.output / "best" / "all")
        write_whole(found.output / "report.md", report(found, agreement, drawn).encode())


def expect_reached(found: SearchResult) -> None:
    """Raise OutOfReach, which says what comes nearest, for a device without a best point."""
    for each in found.devices:
        if each.best is None:
            nearest = most_accurate(found.points, each.where.name)
            on = nearest.on[each.where.name]
            raise OutOfReach(
                f"{each.where.name}: no assignment keeps both the accuracy and the budgets that "
                f"were asked for (float32 has {100 * found.float_accuracy:.2f} %); the most "
                f"accurate one is {nearest.name}: {100 * (on.accuracy or 0):.2f} %, "
                f"{1e3 * (on.measured_s or 0):.4g} ms, {nearest.weight_bytes / 1024:.1f} KiB"
            )
