"""A latency model as the solver's costs: of choices, and of pairs of neighbours."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qcompile.search.latency.choice import Choice
from qcompile.search.latency.model import LatencyModel

LATENCY = "latency"


@dataclass(frozen=True)
class SolverCosts:
    """Seconds that sum up to what the model's terms say of a network.

    latency: of each choice, in the order of `model.choices`. pairs: as a problem of
    `qcompile.search.solve` holds them. base_s: what every network takes besides; a budget is less
    by it.
    """

    latency: dict[str, dict[Choice, float]]
    pairs: list[dict[str, Any]]
    base_s: float

    def layers(self) -> list[dict[str, Any]]:
        """The layers of a problem, but for what else their choices cost."""
        return [
            {
                "name": name,
                "choices": [choice.to_json() | {LATENCY: s} for choice, s in costs.items()],
            }
            for name, costs in self.latency.items()
        ]


def solver_costs(model: LatencyModel) -> SolverCosts:
    """None is negative, as the solver wants it: what a hand-over saves is taken from its maker.

    The least of a row of a pair moves into the cost of the maker's choice, which changes no sum.
    """
    latency = {name: model.costs(name) for name in model.neighbours.layers}
    pairs = []
    for maker, reader in model.neighbours.edges:
        matrix = model.handovers(maker, reader)
        least = matrix.min(axis=1)
        latency[maker] = _shifted(latency[maker], least)
        matrix = matrix - least[:, None]
        if np.any(matrix):
            pairs.append({"layers": [maker, reader], LATENCY: matrix.tolist()})
    floored = {name: {c: max(0.0, s) for c, s in costs.items()} for name, costs in latency.items()}
    return SolverCosts(floored, pairs, model.fitted.base_s)


def _shifted(costs: dict[Choice, float], least: Sequence[float]) -> dict[Choice, float]:
    return {c: s + float(by) for (c, s), by in zip(costs.items(), least, strict=True)}
