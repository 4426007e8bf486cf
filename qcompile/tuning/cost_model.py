"""The cost model: XGBoost on what was measured, of this network and of others.

It predicts how near a candidate is to the best one of its task, from 0 to 1. What was measured
before, of other shapes, bit widths and processors, counts less than the tasks at hand, but is
there from the first candidate on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray

from qcompile.targets import Target
from qcompile.tuning.features import features_of
from qcompile.tuning.tasks import Task

PARAMETERS = {
    "objective": "reg:squarederror",
    "max_depth": 6,
    "eta": 0.2,
    "min_child_weight": 1,
    "subsample": 1.0,
    "lambda": 0.5,
    "nthread": 1,
}
ROUNDS = 80
EARLIER_WEIGHT = 0.2  # of a candidate of other tasks, to one of these
FAILED = 0.0
# With so few measured candidates, where a tile stands in its space tells more than a model.
FEWEST = 6


@dataclass
class Measured:
    """What is known of one task: features (n, f) and seconds (n,), infinite for failures."""

    features: list[NDArray[np.float32]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def add(self, features: NDArray[np.float32], seconds: float | None) -> None:
        self.features.append(features)
        self.seconds.append(np.inf if seconds is None else seconds)

    def targets(self) -> NDArray[np.float64]:
        """best / seconds, 0 for failures."""
        seconds = np.array(self.seconds)
        return np.where(np.isfinite(seconds), seconds.min() / seconds, FAILED)


class CostModel:
    """Scores candidates of tasks; the higher, the faster."""

    def __init__(
        self,
        tasks: Sequence[Task],
        target: Target,
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
        if self._booster is None:
            return order_without_model(choices)
        rows = np.stack([self.features(task, chosen) for chosen in choices])
        return np.asarray(self._booster.predict(xgboost.DMatrix(rows)), "float64")

    def update(
        self, task: int, choices: Sequence[tuple[int, ...]], seconds: Sequence[float | None]
    ) -> None:
        """Learn from measured candidates."""
        for chosen, taken in zip(choices, seconds, strict=True):
            self.own[task].add(self.features(task, chosen), taken)
        if self._earlier or sum(len(group.seconds) for group in self.own) >= FEWEST:
            self._train()

    def features(self, task: int, choices: tuple[int, ...]) -> NDArray[np.float32]:
        """The vector of a candidate."""
        key = task, choices
        if key not in self._features:
            one = self.tasks[task]
            decisions = decisions_of(one, choices)
            self._features[key] = features_of(
                one.operator, one.problem, one.space, decisions, self.target
            )
        return self._features[key]

    def _train(self) -> None:
        groups = [(group, EARLIER_WEIGHT) for group in self._earlier]
        groups += [(group, 1.0) for group in self.own if group.seconds]
        data = xgboost.DMatrix(
            np.concatenate([np.stack(group.features) for group, _ in groups]),
            np.concatenate([group.targets() for group, _ in groups]),
            weight=np.concatenate([np.full(len(g.seconds), weight) for g, weight in groups]),
        )
        self._booster = xgboost.train({**PARAMETERS, "seed": self._seed}, data, ROUNDS)


def order_without_model(choices: Sequence[tuple[int, ...]]) -> NDArray[np.float64]:
    """Scores by where the choices stand among those of each decision, which are sorted."""
    return -np.array([sum(chosen) for chosen in choices], "float64")


def decisions_of(task: Task, choices: Sequence[int]) -> Mapping[str, Any]:
    """The decisions of these choices, given in the order of the space."""
    return {
        decision.name: decision.choices[chosen]
        for decision, chosen in zip(task.space.decisions, choices, strict=True)
    }
