"""Networks to measure before a search: uniform ones, and mixed ones for hand-over costs."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from qcompile.quantizer import Widths
from qcompile.search.latency.choice import Assignment, Choice
from qcompile.search.latency.neighbours import Neighbours

CANDIDATES = 64  # random networks, of which the one with most new hand-overs is measured
MOST_PROBES = 8  # beyond, the rounds of the search tell what is left


def uniform(choices: Mapping[str, Sequence[Widths]]) -> list[dict[str, Widths]]:
    """For each pair of widths the network whose layers take it, or what is nearest to it.

    The widest is the first.
    """
    pairs = {widths for each in choices.values() for widths in each}
    ordered = sorted(pairs, key=lambda w: (w.weights + w.activations, w.weights), reverse=True)
    networks = [
        {name: min(each, key=lambda w: _distance(w, pair)) for name, each in choices.items()}
        for pair in ordered
    ]
    return [network for k, network in enumerate(networks) if network not in networks[:k]]


def _distance(one: Widths, other: Widths) -> tuple[int, int]:
    weights, activations = one.weights - other.weights, one.activations - other.activations
    return abs(weights) + abs(activations), -one.weights


def probes(
    choices: Mapping[str, Sequence[Choice]],
    neighbours: Neighbours,
    seen: Iterable[Assignment],
    seed: int,
) -> list[dict[str, Choice]]:
    """Mixed networks in which layers hand over to their neighbours in ways that are not seen yet.

    They end when random networks show nothing new.
    """
    rng = np.random.default_rng(seed)
    known = set().union(*(handovers(neighbours, assignment) for assignment in seen))
    found: list[dict[str, Choice]] = []
    while len(found) < MOST_PROBES:
        candidates = [random_assignment(choices, rng) for _ in range(CANDIDATES)]
        best = max(candidates, key=lambda one: len(handovers(neighbours, one) - known))
        if handovers(neighbours, best) <= known:
            break
        known |= handovers(neighbours, best)
        found.append(best)
    return found


def random_assignment(
    choices: Mapping[str, Sequence[Choice]], rng: np.random.Generator
) -> dict[str, Choice]:
    return {name: each[int(rng.integers(len(each)))] for name, each in choices.items()}


def handovers(neighbours: Neighbours, assignment: Assignment) -> set[tuple[object, ...]]:
    """What codes are written for: maker, its kernel, reader, the form that it reads."""
    return {
        (maker, assignment[maker].kernel, reader, assignment[reader].form)
        for maker, reader in neighbours.edges
    }
