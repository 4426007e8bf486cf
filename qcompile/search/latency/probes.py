"""Networks to measure before a search: uniform ones, and mixed ones for hand-over costs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from qcompile.passes.choose_kernels import kernel_name
from qcompile.quantizer import Widths
from qcompile.search.latency.building import CHOOSABLE
from qcompile.search.latency.choice import Assignment, Choice
from qcompile.search.latency.measured import Measured
from qcompile.search.latency.model import LatencyModel
from qcompile.search.latency.neighbours import Neighbours

CANDIDATES = 64  # random networks, of which the one with most new hand-overs is measured
NEAR_BEST = 1.25  # times as long as the fastest kernel: hand-overs do not make up for more
MOST_PROBES = 8  # beyond, the rounds of the search tell what is left
# Where numbers matter, every choice may take another time before every reader.
MOST_PROBES_BY_CHOICE = 24


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


def on_other_kernels(
    assignment: Assignment, possible: Mapping[str, Sequence[str]]
) -> list[dict[str, Choice]]:
    """The same widths on each kind of kernel that some layer could have instead."""
    found: list[dict[str, Choice]] = []
    for kind in CHOOSABLE:
        other = {}
        for name, choice in assignment.items():
            kernels = [each for each in possible[name] if kernel_name(each) == kind]
            other[name] = replace(choice, kernel=kernels[0]) if kernels else choice
        if other not in (assignment, *found):
            found.append(other)
    return found


def near_best(model: LatencyModel) -> dict[str, list[Choice]]:
    """The choices of each layer on kernels that a search may take."""
    found = {}
    for layer in model.neighbours.layers:
        costs = model.costs(layer)
        least: dict[Widths, float] = {}
        for choice, seconds in costs.items():
            least[choice.widths] = min(seconds, least.get(choice.widths, seconds))
        found[layer] = [c for c, s in costs.items() if s <= NEAR_BEST * least[c.widths]]
    return found


def probes(
    choices: Mapping[str, Sequence[Choice]],
    neighbours: Neighbours,
    seen: Iterable[Measured],
    seed: int,
    by_choice: bool = False,
) -> list[dict[str, Choice]]:
    """Mixed networks in which layers hand over to their neighbours in ways that are not seen yet.

    They end when random networks show nothing new. by_choice: choices of the makers count, not
    their kernels alone.
    """
    rng = np.random.default_rng(seed)
    known = set().union(*(handovers(neighbours, each.assignment, by_choice) for each in seen))
    found: list[dict[str, Choice]] = []
    while len(found) < (MOST_PROBES_BY_CHOICE if by_choice else MOST_PROBES):
        candidates = [random_assignment(choices, rng) for _ in range(CANDIDATES)]
        best = max(candidates, key=lambda one: len(handovers(neighbours, one, by_choice) - known))
        if handovers(neighbours, best, by_choice) <= known:
            break
        known |= handovers(neighbours, best, by_choice)
        found.append(best)
    return found


def random_assignment(
    choices: Mapping[str, Sequence[Choice]], rng: np.random.Generator
) -> dict[str, Choice]:
    return {name: each[int(rng.integers(len(each)))] for name, each in choices.items()}


def handovers(
    neighbours: Neighbours, assignment: Assignment, by_choice: bool = False
) -> set[tuple[object, ...]]:
    """What codes are written for: maker, its kernel (by_choice: its choice), reader, the form that
    it reads. And twins that read different codes."""
    found: set[tuple[object, ...]] = {
        (
            maker,
            assignment[maker] if by_choice else assignment[maker].kernel,
            reader,
            assignment[reader].form,
        )
        for maker, reader in neighbours.edges
    }
    bits = {name: choice.activations for name, choice in assignment.items()}
    return found | {("twins", a, b) for a, b in neighbours.twins if bits[a] != bits[b]}
