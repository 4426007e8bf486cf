"""The cost model: XGBoost on what was measured, of this network and of others.

It begins with what the kernels' plans expect their tiles to cost, and learns by how much that is
wrong: a score is the logarithm of a speed. What was measured before, of other shapes, bit widths
and processors, counts less than the tasks at hand, but is there from the first candidate on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray

from qcompile.targets import Target, VtaTarget
from qcompile.tuning.any_task import AnyTask
from qcompile.tuning.choices import decisions_of

PARAMETERS = {
    "objective": "reg:squarederror",
    "max_depth": 6,
    "eta": 0.2,
    "min_child_weight": 1,
    "lambda": 1.0,
    "base_score": 0.0,
    "nthread": 1,
}
ROUNDS = 60
EARLIER_WEIGHT = 0.1  # of a candidate of other tasks, to one of these
FAILED = -1.0  # below the slowest, of a candidate that failed


@dataclass
class Measured:
    """What is known of one task: features (n, f), expected scores (n,) and seconds (n,).

    Seconds, in any unit, are infinite for failures.
    """

    features: list[NDArray[np.float32]] = field(default_factory=list)
    expected: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def add(self, features: NDArray[np.float32], expected: float, seconds: float | None) -> None:
        self.features.append(features)
        self.expected.append(expected)
        self.seconds.append(np.inf if seconds is None else seconds)

    def targets(self) -> NDArray[np.float64]:
        """Scores that are, on average, the expected ones: only their differences matter."""
        scores = -np.log(self.seconds)
        timed = np.isfinite(scores)
        if not timed.any():
            return np.array(self.expected) + FAILED
        expected = np.array(self.expected)
        scores += np.mean(expected[timed] - scores[timed])
        return np.where(timed, scores, scores[timed].min() + FAILED)


class CostModel:
    """Scores candidates of tasks; the higher, the faster."""

    def __init__(
        self,
        tasks: Sequence[AnyTask],
        target: Target | VtaTarget,
        earlier: Sequence[Measured] = (),
        seed: int = 0,
    ) -> None:
        self.tasks = tasks
        self.target = target
        self.own = [Measured() for _ in tasks]
        self._seed = seed
        self._earlier = [group for group in earlier if len(group.seconds) > 1]
        self._features: dict[tuple[int, tuple[int, ...]], NDArray[np.float32]] = {}
        self._booster: Any = None
        if self._earlier:
            self._train()

    @property
    def trained(self) -> bool:
        """Whether it has learned from anything."""
        return self._booster is not None

    def predict(self, task: int, choices: Sequence[tuple[int, ...]]) -> NDArray[np.float64]:
        """A score for each candidate, given by the numbers of its choices."""
        expected = np.array([self.expected(task, chosen) for chosen in choices])
        if self._booster is None:
            return expected
        rows = np.stack([self.features(task, chosen) for chosen in choices])
        data = xgboost.DMatrix(rows, base_margin=expected, nthread=1)
        return np.asarray(self._booster.predict(data), "float64")

    def update(
        self, task: int, choices: Sequence[tuple[int, ...]], seconds: Sequence[float | None]
    ) -> None:
        """Learn from measured candidates."""
        for chosen, taken in zip(choices, seconds, strict=True):
            self.own[task].add(self.features(task, chosen), self.expected(task, chosen), taken)
        self._train()

    def expected(self, task: int, choices: tuple[int, ...]) -> float:
        """The score of a candidate before anything is measured."""
        return self.tasks[task].expected(choices)

    def features(self, task: int, choices: tuple[int, ...]) -> NDArray[np.float32]:
        """The vector of a candidate."""
        key = task, choices
        if key not in self._features:
            one = self.tasks[task]
            self._features[key] = one.features(decisions_of(one.space, choices), self.target)
        return self._features[key]

    def _train(self) -> None:
        groups = [(group, EARLIER_WEIGHT) for group in self._earlier]
        groups += [(group, 1.0) for group in self.own if group.seconds]
        data = xgboost.DMatrix(
            np.concatenate([np.stack(group.features) for group, _ in groups]),
            np.concatenate([group.targets() for group, _ in groups]),
            weight=np.concatenate([np.full(len(g.seconds), weight) for g, weight in groups]),
            base_margin=np.concatenate([group.expected for group, _ in groups]),
            nthread=1,
        )
        self._booster = xgboost.train({**PARAMETERS, "seed": self._seed}, data, ROUNDS)
