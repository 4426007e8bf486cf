"""Sums of terms fitted to seconds: least squares with a ridge."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Term = Hashable


@dataclass(frozen=True)
class Row:
    """Seconds that are the sum of these terms."""

    terms: tuple[Term, ...]
    seconds: float


def fit_terms(rows: Sequence[Row], ridge: Mapping[Term, float]) -> dict[Term, float]:
    """Seconds of each term: sum over rows of (total - seconds)^2 + sum of ridge * term^2 is least.

    ridge: of every term, above 0, so that there is one solution.
    """
    if not rows:
        return {}
    terms = list(dict.fromkeys(term for row in rows for term in row.terms))
    place = {term: k for k, term in enumerate(terms)}
    counts = np.zeros((len(rows), len(terms)))
    for k, row in enumerate(rows):
        for term in row.terms:
            counts[k, place[term]] += 1
    seconds = np.array([row.seconds for row in rows])
    matrix = counts.T @ counts + np.diag([ridge[term] for term in terms])
    found = np.linalg.solve(matrix, counts.T @ seconds)
    return dict(zip(terms, map(float, found), strict=True))
