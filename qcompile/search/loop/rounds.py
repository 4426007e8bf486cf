"""The loop on one device: solve, compile, measure whole networks, correct, solve again."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from qcompile.errors import DeviceLost, QCompileError, Unsupported
from qcompile.quantizer import Widths
from qcompile.search.loop.ledger import Ledger
from qcompile.search.loop.material import Assignment, Material
from qcompile.search.loop.points import OnDevice, Point
from qcompile.search.loop.station import Station
from qcompile.search.loop.sweep import Sensitivity, problem_of, sweep, total

MOST_ROUNDS = 5


@dataclass(frozen=True)
class Round:
    """What one round tried, and how far its predictions were off: the largest, as a share.

    fitted_error: what is left of it once the model is corrected by the round.
    """

    number: int
    tried: int
    error: float | None
    fitted_error: float | None

    def to_json(self) -> dict[str, float | int | None]:
        return vars(self)


class Rounds:
    """The rounds of one device; what they find is in the ledger."""

    def __init__(
        self,
        material: Material,
        station: Station,
        sensitivity: Sensitivity,
        ledger: Ledger,
        say: Callable[[str], None],
    ) -> None:
        self.material = material
        self.station = station
        self.sensitivity = sensitivity
        self.ledger = ledger
        self.device = station.where.name
        self.done: list[Round] = []
        self._say = say
        self._seconds: list[float] = []  # of each point so far

    def run(self, uniform: Mapping[str, Assignment]) -> list[Round]:
        """Measure the uniform assignments, then what is predicted to be worth it, until nothing
        new is predicted. Raises Infeasible when no assignment keeps the budgets."""
        self._announce("uniform assignments", len(uniform))
        for name, bits in uniform.items():
            self._try(name, dict(bits), total(self.sensitivity, bits), 0)
        self._fit()
        for number in range(1, MOST_ROUNDS + 1):
            costs = self.station.costs()
            problem = problem_of(self.material, self.sensitivity, costs)
            found = sweep(problem, costs.base_s, self.material.request.limits)
            new = [each for each in found if not self._known(each[0])]
            if not new:
                break
            self._announce(f"round {number}", len(new))
            tried = [self._try(None, bits, score, number) for bits, score in new]
            self._fit()
            self.done.append(self._round(number, tried))
        return self.done

    def _announce(self, what: str, count: int) -> None:
        told = f"{self.device}: {what}: {count} to quantize, compile and measure"
        if self._seconds:
            minutes = count * sum(self._seconds) / len(self._seconds) / 60
            told += f", about {minutes:.1f} minutes"
        self._say(told)

    def _known(self, bits: Assignment) -> bool:
        point = self.ledger.find(bits)
        return point is not None and self.device in point.on

    def _try(self, name: str | None, bits: dict[str, Widths], score: float, number: int) -> str:
        """The name of the point, measured on this device."""
        point = self.ledger.add(name, bits, score)
        if self.device not in point.on:
            predicted = self.station.predict(bits) if number else None
            start = time.monotonic()
            found = measured_on(self.station, self.ledger, point)
            self._seconds.append(time.monotonic() - start)
            found = replace(found, predicted_s=predicted, round=number)
            self.ledger.put(point.name, self.device, found)
        return point.name

    def _fit(self) -> None:
        """What the model, corrected by all that was measured, now says of each point."""
        for point in self.ledger.points():
            found = point.on.get(self.device)
            if point.bits is not None and found is not None and found.measured_s is not None:
                fitted = replace(found, fitted_s=self.station.predict(point.bits))
                self.ledger.put(point.name, self.device, fitted)

    def _round(self, number: int, names: list[str]) -> Round:
        found = [self.ledger.point(name).on[self.device] for name in names]
        measured = [each for each in found if each.measured_s is not None]
        fitted = [abs((x.fitted_s or 0.0) / x.measured_s - 1) for x in measured if x.measured_s]
        errors = [abs(each.error) for each in measured if each.error is not None]
        return Round(number, len(names), max(errors, default=None), max(fitted, default=None))


def measured_on(station: Station, ledger: Ledger, point: Point) -> OnDevice:
    """The time and the accuracy of a point on a device, or why it has none there.

    Raises DeviceLost.
    """
    try:
        model = ledger.model(point)
        taken = station.measure(point.name, point.bits, model)
        bundle = station.runs_here(point.name)
        accuracy = ledger.workshop.accuracy(point.name, model, station.scales, bundle)
    except DeviceLost:
        raise
    except Unsupported as error:
        return OnDevice(f"not supported: {error}")
    except QCompileError as error:
        return OnDevice(f"failed: {error}")
    return OnDevice("measured", None, None, taken.seconds, taken.spread, None, accuracy)
