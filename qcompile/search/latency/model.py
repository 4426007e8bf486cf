"""The latency of a network on a device for any choice of its layers, corrected round by round."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean
from typing import Any

import numpy as np

from qcompile.errors import InvalidInput
from qcompile.quantizer import Widths
from qcompile.search.latency.choice import Assignment, Choice
from qcompile.search.latency.fit import (
    CLOCK,
    EXACT,
    Fitted,
    apart,
    core,
    fit,
    handover,
    into,
    shape,
    split,
)
from qcompile.search.latency.measured import Measured
from qcompile.search.latency.neighbours import Neighbours

FORMAT = 1
AGREES, AGREES_EXACT = 0.05, 0.01  # of the measured seconds; the second on models and simulators


@dataclass(frozen=True)
class Round:
    """A whole network: what the model said before it knew the measurement, and the measurement."""

    predicted_s: float
    measured: Measured

    @property
    def error(self) -> float:
        """Of the prediction, relative to what was measured."""
        return self.predicted_s / self.measured.seconds - 1


@dataclass(frozen=True)
class LatencyModel:
    """What is measured of a network on a device: the survey before the search, and rounds of it.

    exact: the device gives the same seconds every time. Models do not change: `correct` makes a
    better one.
    """

    target: str
    device: str
    exact: bool
    neighbours: Neighbours
    choices: Mapping[str, tuple[Choice, ...]]
    survey: tuple[Measured, ...]
    rounds: tuple[Round, ...] = ()

    @cached_property
    def fitted(self) -> Fitted:
        rounds = [each.measured for each in self.rounds]
        return fit(self.neighbours, self.survey, rounds, EXACT if self.exact else CLOCK)

    def predict(self, assignment: Assignment) -> float:
        """The seconds of a network; of one that a round measured, what it took then.

        On an exact device also of one that the survey measured. Raises InvalidInput for choices
        that were not measured.
        """
        self._expect_known(assignment)
        measured = [*(self.survey if self.exact else ()), *(each.measured for each in self.rounds)]
        known = [each.seconds for each in measured if each.assignment == assignment]
        if not known:
            return self.fitted.predict(assignment)
        return known[-1] if self.exact else fmean(known)

    def correct(self, measured: Measured) -> "LatencyModel":
        """The model that knows one more network, and what this one said of it."""
        found = Round(self.predict(measured.assignment), measured)
        return replace(self, rounds=(*self.rounds, found))

    def agrees(self, found: Round) -> bool:
        """Whether prediction and measurement are as near as the device lets them be."""
        most = AGREES_EXACT if self.exact else AGREES
        seconds = found.measured.seconds
        allowed = max(most * seconds, 2 * found.measured.spread_s)
        return abs(found.predicted_s - seconds) <= allowed

    def costs(self, layer: str) -> dict[Choice, float]:
        """The seconds of each choice of a layer, with neighbours as in the uniform networks."""
        found = self.fitted
        return {
            choice: found.factor(choice)
            * max(0.0, found.sum([core(layer, choice), shape(layer, choice.form)]))
            for choice in self.choices[layer]
        }

    def handovers(self, maker: str, reader: str) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """Seconds that two neighbours add: row i, column k for choice i of one, k of the other."""
        found = self.fitted
        return np.array(
            [
                [
                    found.factor(x) * found.sum(handover(maker, x, reader, y.form))
                    + found.factor(y) * found.sum([into(maker, x.kernel, reader, y.form)])
                    for y in self.choices[reader]
                ]
                for x in self.choices[maker]
            ]
        )

    def twins(self, one: str, other: str) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """The same for layers that read one value; their makers count as on any kernel."""
        found = self.fitted
        readers_of = self.neighbours.readers
        makers = [m for m in self.neighbours.makers(one) if other in readers_of(m)]
        split_s = found.sum([split(maker, one, other) for maker in makers])
        one_s, other_s = found.sum([apart(one, other)]), found.sum([apart(other, one)])
        return np.array(
            [
                [
                    (split_s + found.factor(x) * one_s + found.factor(y) * other_s)
                    * (x.activations != y.activations)
                    for y in self.choices[other]
                ]
                for x in self.choices[one]
            ]
        )

    def with_kernels(self, widths: Mapping[str, Widths]) -> dict[str, Choice]:
        """The assignment of these widths whose kernels are predicted fastest together."""
        open_choices = {
            name: [choice for choice in self.choices[name] if choice.widths == widths[name]]
            for name in self.neighbours.layers
        }
        for name, found in open_choices.items():
            if not found:
                raise InvalidInput(f"layer '{name}': {widths[name]} was not measured")
        costs = {name: self.costs(name) for name in open_choices}
        best = {
            name: min(found, key=lambda choice: costs[name][choice])
            for name, found in open_choices.items()
        }
        while True:  # each change makes the prediction less, so this ends
            changed = False
            for name, found in open_choices.items():
                fastest = min(found, key=lambda one: self.fitted.predict(best | {name: one}))
                if self.fitted.predict(best | {name: fastest}) < self.fitted.predict(best):
                    best[name], changed = fastest, True
            if not changed:
                return best

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "target": self.target,
            "device": self.device,
            "exact": self.exact,
            "neighbours": self.neighbours.to_json(),
            "choices": {n: [c.to_json() for c in each] for n, each in self.choices.items()},
            "survey": [each.to_json() for each in self.survey],
            "rounds": [
                {"predicted_s": r.predicted_s, "measured": r.measured.to_json()}
                for r in self.rounds
            ],
        }

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> "LatencyModel":
        """Raises InvalidInput for what `to_json` never made."""
        try:
            if held["format"] != FORMAT:
                raise InvalidInput(f"latency model: format {held['format']!r}; {FORMAT} is read")
            rounds = held["rounds"]
            return cls(
                str(held["target"]),
                str(held["device"]),
                bool(held["exact"]),
                Neighbours.from_json(held["neighbours"]),
                {n: tuple(map(Choice.from_json, each)) for n, each in held["choices"].items()},
                tuple(map(Measured.from_json, held["survey"])),
                tuple(
                    Round(float(r["predicted_s"]), Measured.from_json(r["measured"]))
                    for r in rounds
                ),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            told = f"{type(error).__name__}: {error}"
            raise InvalidInput(f"latency model: damaged: {told}") from error

    def _expect_known(self, assignment: Assignment) -> None:
        if set(assignment) != set(self.neighbours.layers):
            other = sorted(set(assignment) ^ set(self.neighbours.layers))[0]
            raise InvalidInput(f"layer '{other}': an assignment names all layers and no others")
        for name, choice in assignment.items():
            if choice not in self.choices[name]:
                known = ", ".join(map(str, self.choices[name]))
                raise InvalidInput(f"layer '{name}': {choice} was not measured; {known} were")
