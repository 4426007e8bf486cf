"""What measurements of other layers were worth: how early they would have led to the best found.

For each task whose best decisions are not the default: the place of these among all candidates, as
the cost model ranked them before anything of this network was measured, and in the order without a
model, that of what the plans expect.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcompile.schedules.space import frozen
from qcompile.tuning.any_task import AnyTask
from qcompile.tuning.cost_model import CostModel

MOST = 4000  # candidates of a space that are ranked; features of one take a tenth of a millisecond


@dataclass(frozen=True)
class HeadStart:
    """Medians over `tasks` tasks: places, from 1, of the best among `candidates`."""

    tasks: int
    with_model: float
    without: float
    candidates: float


def head_start(
    tasks: Sequence[AnyTask], best: Sequence[Mapping[str, Any] | None], model: CostModel
) -> HeadStart | None:
    """`best`: None for the default. None where the model began with nothing, or nothing is better.

    The model is one that has not learned from these tasks.
    """
    places = []
    for number, (task, decisions) in enumerate(zip(tasks, best, strict=True)):
        if decisions is None or task.space.size > MOST or not model.trained:
            continue
        counts = [range(len(decision.choices)) for decision in task.space.decisions]
        every = list(itertools.product(*counts))
        own = tuple(d.choices.index(frozen(decisions[d.name])) for d in task.space.decisions)
        where = every.index(own)
        first = model.predict(number, every)
        cold = np.array([model.expected(number, each) for each in every])
        places.append((_place(first, where), _place(cold, where), len(every)))
    if not places:
        return None
    ours, without, candidates = (float(median(column)) for column in zip(*places, strict=True))
    return HeadStart(len(places), ours, without, candidates)


def _place(scores: NDArray[np.float64], where: int) -> float:
    """The place of one, from 1; of equal scores the middle one."""
    better, equal = int((scores > scores[where]).sum()), int((scores == scores[where]).sum())
    return 1 + better + (equal - 1) / 2
