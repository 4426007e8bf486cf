"""Bit widths and the accelerator's design, chosen together for a board's part.

designs that fit -> least costs -> what may be best, by the planner's cycles of layers
    -> whole programs simulated, estimates corrected, again -> accuracy -> the front
"""

from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from qcompile.arrays import Array
from qcompile.commands.progress import Progress, silent
from qcompile.errors import Unsupported
from qcompile.files import make_folder
from qcompile.search.accelerator.board_file import write_board
from qcompile.search.accelerator.choosing import best_of, best_unlabelled
from qcompile.search.accelerator.correction import Correction
from qcompile.search.accelerator.costs import NetworkCosts, Sensitivities
from qcompile.search.accelerator.cycles import LayerCycles
from qcompile.search.accelerator.design import Design, area_of
from qcompile.search.accelerator.front import front
from qcompile.search.accelerator.joint import Joint, joint_front
from qcompile.search.accelerator.networks import FloatNetwork
from qcompile.search.accelerator.points import CoSearch, Point, unbeaten
from qcompile.search.accelerator.problems import NetworkWork
from qcompile.search.accelerator.request import (
    EIGHT,
    Choices,
    Limits,
    board_of,
    expect_labelled,
    in_order,
    part_of,
    space_of,
)
from qcompile.search.accelerator.space import Space, buildable, own_design
from qcompile.search.accelerator.spread import spread
from qcompile.search.accelerator.store import Store
from qcompile.search.accelerator.table import LayerTable
from qcompile.search.accelerator.trials import Trials
from qcompile.targets import VtaTarget

MARGIN = 0.02  # estimates are corrected by factors that differ by less than this among designs
AREA_STEP = 0.05  # of the part: designs that differ by less count as of equal area in estimates
SHARES_OF_ROUNDS = (0.5, 0.25, 0.25)  # of the points


def co_search(
    model: str | Path,
    board: VtaTarget | str,
    choices: Choices,
    sensitivities: Sensitivities,
    calibration: Mapping[str, Array],
    labelled: Mapping[str, Array] | None = None,
    *,
    space: Space | Mapping[str, Any] | None = None,
    limits: Limits | None = None,
    folder: str | Path | None = None,
    progress: Progress = silent,
) -> CoSearch:
    """The designs and widths of which none is better in loss, time and area.

    model: float. board: a board with VTA, by name or file, or a part by name. choices and
    sensitivities: by layer; a layer without choices has 8 bits. labelled: samples by input, with
    `y`; without them no accuracy is known, and sensitivity takes its place. space: as space.py has
    it. folder: results are kept there, and a search that was killed goes on; at the end it has the
    chosen design as `best.toml`, for `qcompile compile --target`.

    Raises InvalidInput, UnknownTarget, Unsupported, DoesNotFit.
    """
    return _Search(
        Path(model), board_of(board), choices, sensitivities, calibration, labelled,
        limits or Limits(), None if folder is None else Path(folder), progress,
    ).run(space)  # fmt: skip


class _Search:
    def __init__(
        self,
        model: Path,
        board: VtaTarget,
        choices: Choices,
        sensitivities: Sensitivities,
        calibration: Mapping[str, Array],
        labelled: Mapping[str, Array] | None,
        limits: Limits,
        folder: Path | None,
        progress: Progress,
    ) -> None:
        self.board, self.part, self.limits = board, part_of(board), limits
        self.choices, self.sensitivities = in_order(model, choices, sensitivities)
        self.network = FloatNetwork(model, calibration)
        self.labelled, self.folder, self.progress = labelled, folder, progress
        if labelled is not None:
            expect_labelled(model, labelled)
        if folder is not None:
            make_folder(folder)
        self.layers = LayerCycles(Store(folder and folder / "layers.jsonl"))
        path = folder and folder / "points.jsonl"
        self.trials = Trials(self.network, board, labelled, path)
        self.correction = Correction(board.clock_hz)
        self.failures: list[str] = []

    def run(self, space: Space | Mapping[str, Any] | None) -> CoSearch:
        found = buildable(space_of(space, self.board), self.board, self.part, self.limits.shares)
        designs = found.designs
        joint = self._estimated(designs)
        baseline = self._baseline()
        simulations, error = self._simulated(designs, joint)
        points, best, remark = self._measured([baseline, *simulations], designs, joint)
        kept = set(unbeaten(points))
        told = [
            point if k == 0 else replace(point, status="front" if k in kept else "beaten")
            for k, point in enumerate(points)
        ]
        chosen = None if best is None else told[best]
        if self.folder is not None and chosen is not None:
            write_board(self.folder / "best.toml", chosen.design, self.board)
        return CoSearch(
            self.board.name, self.part.name, tuple(told), chosen, len(designs), found.refused,
            joint.tried, joint.skipped, len(joint.points), joint.exact, error,
            tuple(self.failures), remark,
        )  # fmt: skip

    def _estimated(self, designs: tuple[Design, ...]) -> Joint:
        """What may be best, by the planner's cycles of layers."""
        work = NetworkWork(
            self.network, self.choices, self.board.host,
            lambda done, of: self.progress("quantizing for costs", done, of),
        )  # fmt: skip
        costs = NetworkCosts(
            work, self.choices, self.sensitivities, self.board.clock_hz, self.layers
        )
        steps = [ceil(area_of(design, self.part).share / AREA_STEP) for design in designs]

        def least(k: int) -> list[LayerTable]:
            self.progress("least costs of designs", k, len(designs))
            return costs.least(designs[k])

        return joint_front(
            [AREA_STEP * step for step in steps],
            least,
            lambda k, *place: costs.planned(designs[k], *place),
            margin=MARGIN,
            progress=lambda done, of: self.progress("estimating designs", done, of),
        )

    def _baseline(self) -> Point:
        """The board's own design at 8 bits."""
        self.progress("baseline")
        design, widths = own_design(self.board), dict.fromkeys(self.choices, EIGHT)
        found = self.trials.simulated(design, widths)
        sensitivity = sum(scores.get(EIGHT, 0.0) for scores in self.sensitivities.values())
        area = area_of(design, self.part)
        return Point(design, area, widths, sensitivity, None, found, status="baseline")

    def _simulated(self, designs: tuple[Design, ...], joint: Joint) -> tuple[list[Point], float]:
        """Points of the predicted front, and how far the last round's predictions were off."""
        points: list[Point] = []
        tried: set[int] = set()
        error = 0.0
        for share in SHARES_OF_ROUNDS:
            values = self._predicted(joint)
            places = front(values)
            taken = [n for n, k in enumerate(places) if k in tried]
            count = max(1, round(share * self.limits.points))
            chosen = [int(places[n]) for n in spread(values[places], count, taken)]
            off = []
            for k in sorted(chosen, key=lambda k: joint.picks[k].tolist()):
                self.progress("simulating", len(tried), self.limits.points)
                tried.add(k)
                point = self._point(designs, joint, k, float(values[k, 1]))
                if point is not None:
                    points.append(point)
                    off.append(abs(values[k, 1] / point.seconds - 1))
            error = max(off, default=error)
        return points, float(error)

    def _predicted(self, joint: Joint) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The joint's points with corrected times in seconds."""
        values = joint.points.copy()
        values[:, 1] = [
            self.correction.seconds(int(k), cycles)
            for k, cycles in zip(joint.design, joint.points[:, 1], strict=True)
        ]
        return values

    def _point(
        self, designs: tuple[Design, ...], joint: Joint, k: int, predicted_s: float
    ) -> Point | None:
        """One of the joint's points simulated, and learnt from."""
        number = int(joint.design[k])
        design = designs[number]
        picks = zip(self.choices.items(), joint.picks[k], strict=True)
        widths = {name: own[pick] for (name, own), pick in picks}
        sensitivity, cycles, _ = joint.points[k].tolist()
        try:
            found = self.trials.simulated(design, widths)
        except Unsupported as error:
            self.failures.append(f"{design.name}: {error}")
            return None
        self.correction.learn(number, cycles, found.seconds)
        area = area_of(design, self.part)
        return Point(design, area, widths, sensitivity, predicted_s, found)

    def _measured(
        self, points: list[Point], designs: tuple[Design, ...], joint: Joint
    ) -> tuple[list[Point], int | None, str]:
        """The points with accuracies of those that may count, and which is the best."""
        if self.labelled is None:
            return points, *best_unlabelled(points, self.limits)
        for done, k in enumerate(needed := sorted({0, *unbeaten(points)})):
            self.progress("accuracy", done, len(needed))
            points[k] = self._right(points[k])
        for done in range(self.limits.refined):
            self.progress("refining", done, self.limits.refined)
            point = self._next(points, designs, joint)
            if point is None:
                break
            points.append(self._right(point))
        return points, *best_of(points, self.limits)

    def _right(self, point: Point) -> Point:
        return replace(point, accuracy=self.trials.accuracy(point.design, point.widths))

    def _next(self, points: list[Point], designs: tuple[Design, ...], joint: Joint) -> Point | None:
        """Of all that is predicted to be faster than the best, what promises most accuracy."""
        best, _ = best_of(points, self.limits)
        fastest = points[0 if best is None else best].seconds
        known = {(point.design, tuple(point.widths.values())) for point in points}
        values = self._predicted(joint)
        order = np.lexsort((values[:, 1], values[:, 0]))
        for k in order[values[order, 1] < (1 - MARGIN) * fastest]:
            picks = zip(self.choices.values(), joint.picks[k], strict=True)
            widths = tuple(own[pick] for own, pick in picks)
            if (designs[int(joint.design[k])], widths) not in known:
                return self._point(designs, joint, int(k), float(values[k, 1]))
        return None
