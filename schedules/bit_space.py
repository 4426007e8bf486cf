"""What may be decided about a kernel on bits: how it counts, its tile, and how its sums run."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from qcompile.schedules.bit_product import chunks_of
from qcompile.schedules.conv2d_plan import MOST_SPLITS
from qcompile.schedules.popcount import Popcount
from qcompile.schedules.space import MOST_UNROLLED, Decision, Value, divisors
from qcompile.schedules.tile import MOST_TILES

Extents = tuple[int, ...]  # of a tile, from rows to vectors


@dataclass(frozen=True)
class Choice:
    """A popcount and a tile for it, and about how many instructions all outputs take with them."""

    popcount: Popcount
    tile: Extents
    cost: float

    @property
    def value(self) -> Value:
        """What a decision has of it."""
        return self.popcount.name, *self.tile


def best_choices(
    usual: Sequence[Popcount],
    every: Sequence[Popcount],
    costs: Callable[[Popcount], Iterable[tuple[Extents, float]]],
) -> list[Choice]:
    """The tiles that cost least with each popcount; the first is the best of the usual ones."""
    best = {}
    for popcount in every:
        found = sorted(costs(popcount), key=lambda each: each[1])[:MOST_TILES]
        best[popcount] = [Choice(popcount, tile, cost) for tile, cost in found]
    first = min(usual, key=lambda popcount: best[popcount][0].cost)
    others = [choice for popcount in every if popcount != first for choice in best[popcount]]
    return [*best[first], *others]


def tile_decision(choices: Sequence[Choice]) -> Decision:
    """The decision on the popcount and the tile."""
    values = tuple(choice.value for choice in choices)
    return Decision("tile", values, costs=tuple(choice.cost for choice in choices))


def choice_of(choices: Sequence[Choice], value: Value) -> Choice:
    """The choice of that value."""
    return next(choice for choice in choices if choice.value == value)


def value_of(choices: Sequence[Choice], form: str) -> Value:
    """The best value with that form of a popcount."""
    return next(choice.value for choice in choices if choice.popcount.form == form)


def splits_and_unrolls(
    choices: Sequence[Choice], extents: Sequence[int], most_splits: int = MOST_SPLITS
) -> list[tuple[int, int]]:
    """(parts of the words, steps without a loop) that divide a reduction however it is counted.

    extents: of the window, if any, and of the words.
    """
    every = [_divided(p, extents, most_splits) for p in {c.popcount for c in choices}]
    return [pair for pair in every[0] if all(pair in others for others in every)]


def _divided(popcount: Popcount, extents: Sequence[int], most_splits: int) -> list[tuple[int, int]]:
    if popcount.in_bytes:  # parts are of the loop over chunks, steps of the loop within one
        outer, inner = chunks_of(extents)
        unrolls = divisors(inner[-1], MOST_UNROLLED)
        return [(s, u) for s in divisors(outer[-1], most_splits) for u in unrolls]
    steps = extents[-1] // popcount.step
    return [
        (split, unroll)
        for split in divisors(steps, most_splits)
        for unroll in divisors(steps // split, MOST_UNROLLED)
    ]
