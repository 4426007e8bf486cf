"""Times of layers in any neighbourhood, from networks that were measured.

A layer L of choice x, whose readers R want the form f(R), takes

    own(L)     = core(L, x)
                 + sum over readers R of out(L, kernel(x), R, f(R)) + cell(L, x, R, f(R))
    prepare(L) = form(L, f(L)) + sum over makers M of in(M, kernel of M, L, f(L))

seconds. Where two layers read one value at different widths, its maker leaves the codes to them:
`split` stands in place of `out`, and each reader takes `apart` more. `out` and `in` are hand-over
costs: of writing codes for another kernel or of another width than in the uniform networks, and of
repacking them. `cell` is what a choice changes of it, on devices that are exact; a clock would
take noise for it. All terms come from least squares with a ridge towards no hand-over. Rounds of a
search multiply all terms of a kernel by a factor, from least squares over whole networks with a
ridge towards 1. What is left of a layer's time in one neighbourhood is kept for the next time that
it has the same one.
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
# Smaller than that of hand-overs: codes of their own cost twins the same from any maker.
TWINS_RIDGE = 1e-3
TWINS = ("split", "apart")


@dataclass(frozen=True)
class Trust:
    """How far measurements are believed; a clock's, that others disturb, less than a model's.

    handover_ridge: in rows of data; factor_ridge: in whole networks of the kernel alone;
    seen_again: so many earlier times of a neighbourhood count as much as what the terms say of it;
    cell_ridge: as handover_ridge, None for no such terms.
    """

    handover_ridge: float
    factor_ridge: float
    seen_again: float
    cell_ridge: float | None


CLOCK, EXACT = Trust(0.5, 0.5, 1.0, None), Trust(0.02, 4.0, 0.0, 0.1)


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


def cell(layer: str, choice: Choice, reader: str, form: Form) -> Term:
    return "cell", layer, choice, reader, form


def handover(layer: str, choice: Choice, reader: str, form: Form) -> list[Term]:
    """What a layer's own time has besides, for a reader that wants this form."""
    return [out(layer, choice.kernel, reader, form), cell(layer, choice, reader, form)]


def into(maker: str, kernel: str, layer: str, form: Form) -> Term:
    return "in", maker, kernel, layer, form


def split(maker: str, reader: str, twin: str) -> Term:
    return "split", maker, reader, twin


def apart(reader: str, twin: str) -> Term:
    return "apart", reader, twin


def terms_of(
    neighbours: Neighbours, layer: str, assignment: Assignment
) -> tuple[list[Term], list[Term]]:
    """The terms of a layer's own seconds, and those of preparing its input."""
    choice = assignment[layer]

    def differ(a: str, b: str) -> bool:
        return assignment[a].activations != assignment[b].activations

    readers, makers = neighbours.readers(layer), neighbours.makers(layer)
    splits = [twins for twins in neighbours.twins if twins[0] in readers and differ(*twins)]
    alike = [each for each in readers if not any(each in twins for twins in splits)]
    own = [core(layer, choice), *(split(layer, *twins) for twins in splits)]
    for each in alike:
        own += handover(layer, choice, each, assignment[each].form)
    prepare = [shape(layer, choice.form)]
    prepare += [apart(layer, each) for each in neighbours.twins_of(layer) if differ(layer, each)]
    prepare += [into(each, assignment[each].kernel, layer, choice.form) for each in makers]
    return own, prepare


def place(neighbours: Neighbours, layer: str, assignment: Assignment) -> Hashable:
    """A layer with its choice and those of its neighbours."""
    near = (*neighbours.makers(layer), *neighbours.readers(layer), *neighbours.twins_of(layer))
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
    ridges: dict[str, float | None] = {"cell": trust.cell_ridge}
    ridges |= dict.fromkeys(("core", "form"), CORE_RIDGE) | dict.fromkeys(TWINS, TWINS_RIDGE)
    terms: list[Any] = [term for row in rows for term in row.terms]
    found = {term: ridges.get(term[0], trust.handover_ridge) for term in terms}
    ridge = {term: each for term, each in found.items() if each is not None}
    known = [replace(row, terms=tuple(t for t in row.terms if t in ridge)) for row in rows]
    return fit_terms(known, ridge)


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
