"""Designs and widths together: what none beats in sensitivity, time and area, without trying all.

Of each design least costs are known: nowhere above its true ones. A design whose best assignments
at these are beaten by what other designs reach is skipped. Of the others true costs are asked for
only where an assignment that is not beaten needs them. With a `margin`, what is slower by less than
this share counts as not beaten, for times that are corrected later.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from qcompile.search.accelerator.front import covered
from qcompile.search.accelerator.table import Front, LayerTable, best_assignments

Tables = Sequence[LayerTable]
# Of a design's layer at the place, a choice, and a width of the follower's input: true cycles.
TrueCycles = Callable[[int, int, int, int], float]


@dataclass(frozen=True, eq=False)
class Joint:
    """points: (count, 3), sensitivity, cycles and area, none of them beaten (by the margin).

    design: the place of each point's design; picks: the place of each layer's choice. tried,
    skipped: how many designs. exact: whether no front was thinned.
    """

    points: NDArray[np.float64]
    design: NDArray[np.int64]
    picks: NDArray[np.int64]
    tried: int
    skipped: int
    exact: bool


def joint_front(
    areas: Sequence[float],
    least: Callable[[int], Tables],
    true: TrueCycles,
    *,
    margin: float = 0.0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Joint:
    """The best of all designs with all assignments. areas: of each design.

    least: of the design at a place its least costs; designs may share them. What a design cannot
    run costs infinitely many cycles.
    """
    tables = [least(k) for k in range(len(areas))]
    fronts = {id(each): best_assignments(each) for each in tables}
    widest = {key: front.cycles.max(initial=0) for key, front in fronts.items()}
    found = Joint(
        np.empty((0, 3)),
        np.empty(0, np.int64),
        np.empty((0, len(tables[0])), np.int64),
        0,
        0,
        True,
    )
    # Small designs first, of equals those that are fast at their largest widths: once these are
    # known, nobody asks for wide layers on narrow designs, the longest programs of all.
    order = sorted(range(len(areas)), key=lambda k: (areas[k], widest[id(tables[k])], k))
    for done, k in enumerate(order):
        progress(done, len(order))
        if not _open(fronts[id(tables[k])], areas[k], found, margin).any():
            found = replace(found, skipped=found.skipped + 1)
            continue
        own = _refined(tables[k], areas[k], found, lambda *at, k=k: true(k, *at), margin)
        found = _with(found, own, k, areas[k], margin)
    return found


def _open(front: Front, area: float, found: Joint, margin: float) -> NDArray[np.bool_]:
    """The assignments of a design that are not beaten; all where some were left out before."""
    if not front.exact and not len(found.points):
        return np.ones(len(front.cycles), bool)
    return ~_beaten(_points(front, area), found.points, margin)


def _points(front: Front, area: float) -> NDArray[np.float64]:
    return np.stack([front.sensitivity, front.cycles, np.full(len(front.cycles), area)], axis=1)


def _beaten(
    points: NDArray[np.float64], known: NDArray[np.float64], margin: float
) -> NDArray[np.bool_]:
    """(points,): whether a known point is nowhere worse, and faster by the margin."""
    return covered(points / [1, 1 + margin, 1], known)


def _refined(
    least: Tables, area: float, found: Joint, true: Callable[[int, int, int], float], margin: float
) -> Front:
    """The design's assignments that are not beaten, all their costs true.

    Costs that were not asked for stay the least ones. An assignment that is best at mixed costs is
    beaten, or all its costs are true: then none of the design is better than these and what beats
    the others.
    """
    tables = [replace(layer, cycles=layer.cycles.copy()) for layer in least]
    known = [np.zeros(layer.cycles.shape, bool) for layer in tables]
    while True:
        own = best_assignments(tables)
        own = own.of(np.flatnonzero(_open(own, area, found, margin)))
        asked = False
        for layer, table in enumerate(tables):
            for choice, column in sorted(set(_used(tables, own, layer))):
                if not known[layer][choice, column]:
                    table.cycles[choice, column] = true(layer, choice, column)
                    known[layer][choice, column] = asked = True
        if not asked:
            return own


def _used(tables: Tables, own: Front, layer: int) -> list[tuple[int, int]]:
    """The choices of one layer in assignments, each with the place of its follower's width."""
    choices = own.picks[:, layer]
    if layer + 1 == len(tables):
        columns = np.zeros_like(choices)
    else:
        following = tables[layer + 1]
        places = [following.inputs.index(each.activations) for each in following.choices]
        columns = np.array(places, np.int64)[own.picks[:, layer + 1]]
    return list(zip(choices.tolist(), columns.tolist(), strict=True))


def _with(found: Joint, own: Front, design: int, area: float, margin: float) -> Joint:
    """With the assignments of one more design."""
    new = _points(own, area)
    better = ~_beaten(new, found.points, margin)
    new, picks = new[better], own.picks[better]
    kept = ~_beaten(found.points, new, margin)
    return Joint(
        np.concatenate([found.points[kept], new]),
        np.concatenate([found.design[kept], np.full(len(new), design)]),
        np.concatenate([found.picks[kept], picks]),
        found.tried + 1,
        found.skipped,
        found.exact and own.exact,
    )
