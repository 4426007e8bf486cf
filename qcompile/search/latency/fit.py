"""Times of layers in any neighbourhood, from networks that were measured.

A layer L of choice x, whose readers R want the form f(R), takes

    own(L)     = core(L, x)    + sum over readers R of out(L, kernel(x), R, f(R))
    prepare(L) = form(L, f(L)) + sum over makers M of in(M, kernel of M, L, f(L))

seconds. `out` and `in` are hand-over costs: of writing codes for another kernel or of another width
than in the uniform networks, and of repacking them. All terms come from least squares with a ridge
towards no hand-over. Rounds of a search multiply all terms of a kernel by a factor, from least
squares over whole networks with a ridge towards 1. What is left of a layer's time in one
neighbourhood is kept for the next time that it has the same one.
"""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np

from qcompile.search.latency.choice import Assignment, Choice, Form
from qcompile.search.latency.measured import Measured
from qcompile.search.latency.neighbours import Neighbours
from qcompile.search.latency.terms import Row, Term, fit_terms

# Small against one row of data: what is measured in uniform networks is the layer's own.
CORE_RIDGE = 1e-6


@dataclass(frozen=True)
class Trust:
    """How far measurements are believed; a clock's, that others disturb, less than a model's.

    handover_ridge: in rows of data; factor_ridge: in whole networks of the kernel alone;
    seen_again: so many earlier times of a neighbourhood count as much as what the terms say of it.
    """

    handover_ridge: float
    factor_ridge: float
    seen_again: float


CLOCK, EXACT = Trust(0.5, 0.5, 1.0), Trust(0.02, 4.0, 0.0)


@dataclass(frozen=True)
class Fitted:
    """terms: seconds; factors: of kernels, 1 where nothing is known; rest: (seconds, how often
    measured) that the terms leave of a layer in a neighbourhood; base_s: of a network."""

    neighbours: Neighbours
    trust: Trust
    terms: Mapping[Term, float]
    factors: Mapping[str, float]
    rest: Mapping[Hashable, tuple[float, int]]
    base_s: float

    def predict(self, assignment: Assignment) -> float:
        layers = self.neighbours.layers
        return self.base_s + sum(self.layer(layer, assignment) for layer in layers)

    def layer(self, layer: str, assignment: Assignment) -> float:
        """The seconds of a layer in a network."""
        known, times = self.rest.get(place(self.neighbours, layer, assignment), (0.0, 1))
        return self.by_terms(layer, assignment) + known * times / (times + self.trust.seen_again)

    def by_terms(self, layer: str, assignment: Assignment) -> float:
        own, prepare = terms_of(self.neighbours, layer, assignment)
        return self.factor(assignment[layer]) * self.sum([*own, *prepare])

    def factor(self, choice: Choice) -> float:
        return self.factors.get(choice.kernel, 1.0)

    def sum(self, terms: Sequence[Term]) -> float:
        return sum(self.terms.get(term, 0.0) for term in terms)


def fit(
    neighbours: Neighbours, survey: Sequence[Measured], rounds: Sequence[Measured], trust: Trust
) -> Fitted:
    """What all networks say together; factors come from those of the rounds."""
    base_s = fmean(each.base_s for each in (*survey, *rounds))
    plain = Fitted(neighbours, trust, _terms(neighbours, survey, (), {}, trust), {}, {}, base_s)
    factors = _factors(plain, rounds)
    terms = _terms(neighbours, survey, rounds, factors, trust)
    fitted = Fitted(neighbours, trust, terms, factors, {}, base_s)
    # What a search compiled tells more of a neighbourhood than what the survey did.
    rest = _rest(fitted, survey) | _rest(fitted, rounds)
    return replace(fitted, rest=rest)


def _rest(fitted: Fitted, networks: Sequence[Measured]) -> dict[Hashable, tuple[float, int]]:
    """What the terms leave of layers in their neighbourhoods, and how often it was measured."""
    left: dict[Hashable, list[float]] = defaultdict(list)
    for each in networks:
        for layer in fitted.neighbours.layers:
            rest = each.per_layer[layer].seconds - fitted.by_terms(layer, each.assignment)
            left[place(fitted.neighbours, layer, each.assignment)].append(rest)
    return {key: (fmean(values), len(values)) for key, values in left.items()}


def core(layer: str, choice: Choice) -> Term:
    return "core", layer, choice


def shape(layer: str, form: Form) -> Term:
    return "form", layer, form


def out(layer: str, kernel: str, reader: str, form: Form) -> Term:
    return "out", layer, kernel, reader, form


def into(maker: str, kernel: str, layer: str, form: Form) -> Term:
    return "in", maker, kernel, layer, form


def terms_of(
    neighbours: Neighbours, layer: str, assignment: Assignment
) -> tuple[list[Term], list[Term]]:
    """The terms of a layer's own seconds, and those of preparing its input."""
    choice = assignment[layer]
    readers, makers = neighbours.readers(layer), neighbours.makers(layer)
    own = [core(layer, choice)]
    own += [out(layer, choice.kernel, each, assignment[each].form) for each in readers]
    prepare = [shape(layer, choice.form)]
    prepare += [into(each, assignment[each].kernel, layer, choice.form) for each in makers]
    return own, prepare


def place(neighbours: Neighbours, layer: str, assignment: Assignment) -> Hashable:
    """A layer with its choice and those of its neighbours."""
    near = (*neighbours.makers(layer), *neighbours.readers(layer))
    return layer, assignment[layer], tuple(assignment[each] for each in near)


def _terms(
    neighbours: Neighbours,
    survey: Sequence[Measured],
    rounds: Sequence[Measured],
    factors: Mapping[str, float],
    trust: Trust,
) -> dict[Term, float]:
    """Those of all layers; seconds of rounds count without the factors."""
    found: dict[Term, float] = {}
    unchanged: Mapping[str, float] = {}
    networks = [*((each, unchanged) for each in survey), *((each, factors) for each in rounds)]
    for layer in neighbours.layers:
        own, prepare = [], []
        for each, divisors in networks:
            of_own, of_prepare = terms_of(neighbours, layer, each.assignment)
            divisor = divisors.get(each.assignment[layer].kernel, 1.0)
            own.append(Row(tuple(of_own), each.per_layer[layer].own_s / divisor))
            prepare.append(Row(tuple(of_prepare), each.per_layer[layer].prepare_s / divisor))
        found |= _solved(own, trust) | _solved(prepare, trust)
    return found


def _solved(rows: Sequence[Row], trust: Trust) -> dict[Term, float]:
    terms: list[Any] = [term for row in rows for term in row.terms]
    ridge = {t: CORE_RIDGE if t[0] in ("core", "form") else trust.handover_ridge for t in terms}
    return fit_terms(rows, ridge)


def _factors(plain: Fitted, rounds: Sequence[Measured]) -> dict[str, float]:
    """Of each kernel: what whole networks take more than the sum of their layers' terms."""
    kernels = sorted({c.kernel for each in rounds for c in each.assignment.values()})
    if not kernels:
        return {}
    shares = np.zeros((len(rounds), len(kernels)))
    missing = np.zeros(len(rounds))
    for k, each in enumerate(rounds):
        for layer, choice in each.assignment.items():
            seconds = plain.by_terms(layer, each.assignment)
            shares[k, kernels.index(choice.kernel)] += seconds / each.seconds
        missing[k] = 1 - plain.base_s / each.seconds - shares[k].sum()
    matrix = shares.T @ shares + plain.trust.factor_ridge * np.eye(len(kernels))
    found = 1 + np.linalg.solve(matrix, shares.T @ missing)
    return dict(zip(kernels, map(float, found), strict=True))
