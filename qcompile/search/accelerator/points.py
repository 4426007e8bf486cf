"""Points of a co-search: a design with widths, and what is known of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qcompile.quantizer import Widths
from qcompile.search.accelerator.design import Area, Design
from qcompile.search.accelerator.evaluate import Simulated
from qcompile.search.accelerator.front import front


@dataclass(frozen=True)
class Point:
    """predicted_s: before it was simulated, None for the baseline. accuracy: None: not measured.

    status: "front", "beaten", or "baseline": the board's own design at 8 bits.
    """

    design: Design
    area: Area
    widths: Mapping[str, Widths]
    sensitivity: float
    predicted_s: float | None
    simulated: Simulated
    accuracy: float | None = None
    status: str = "beaten"

    @property
    def seconds(self) -> float:
        return self.simulated.seconds

    @property
    def values(self) -> tuple[float, float, float]:
        """Of which less is better: what it loses, its time and its area."""
        lost = self.sensitivity if self.accuracy is None else -self.accuracy
        return lost, self.seconds, self.area.share

    def to_json(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "design": self.design.to_json(),
            "area": self.area.to_json(),
            "layers": {
                name: {"w": one.weights, "a": one.activations} for name, one in self.widths.items()
            },
            "sensitivity": self.sensitivity,
            "predicted_ms": None if self.predicted_s is None else 1e3 * self.predicted_s,
            "simulated": self.simulated.to_json(),
            "ms": 1e3 * self.seconds,
            "accuracy": self.accuracy,
        }


@dataclass(frozen=True)
class CoSearch:
    """What a co-search found.

    points: all that were simulated, the baseline first. best: the fastest that keeps what was asked
    for, None where none does. designs, refused: how many can be built, and how many of the space
    cannot, by reason; tried, skipped: of those that can. exact: whether the estimated front is all
    of it. error: the largest share by which a time was off that was predicted in the last round.
    failures: designs that a program could not be made for after all, with the reason.
    """

    board: str
    part: str
    points: tuple[Point, ...]
    best: Point | None
    designs: int
    refused: Mapping[str, int]
    tried: int
    skipped: int
    estimated: int
    exact: bool
    error: float
    failures: tuple[str, ...]
    remark: str

    @property
    def baseline(self) -> Point:
        return self.points[0]

    @property
    def front(self) -> list[Point]:
        """By rising time; the baseline too where nothing beats it."""
        places = unbeaten(self.points)
        return sorted((self.points[k] for k in places), key=lambda point: point.seconds)

    def to_json(self) -> dict[str, Any]:
        numbers = {id(point): k for k, point in enumerate(self.points)}
        return {
            "board": self.board,
            "part": self.part,
            "designs": self.designs,
            "refused": dict(self.refused),
            "tried": self.tried,
            "skipped": self.skipped,
            "estimated": self.estimated,
            "exact": self.exact,
            "error": self.error,
            "failures": list(self.failures),
            "remark": self.remark,
            "baseline": 0,
            "front": [numbers[id(point)] for point in self.front],
            "best": None if self.best is None else numbers[id(self.best)],
            "points": [point.to_json() for point in self.points],
        }


def unbeaten(points: Sequence[Point]) -> list[int]:
    """The places of points that no other is better than in all of: loss, time and area.

    The loss is accuracy where that is measured, of the points where it is; else sensitivity.
    """
    measured = [k for k, point in enumerate(points) if point.accuracy is not None]
    places = measured or list(range(len(points)))
    kept = front(np.array([points[k].values for k in places]))
    return [places[k] for k in kept]
