"""Measure contenders alternately, so that a change of the machine's speed hits all of them.

Each round measures one block of inferences of every contender, a different one first each time.
Ratios are taken within a round and only then summarized.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Protocol

BLOCK_S = 0.25  # long enough for clocks and caches to settle, short against changes of load
ROUNDS = 7
LEAST_INFERENCES = 3


class Contender(Protocol):
    """Something whose inferences can be timed; it is idle outside `block`."""

    name: str
    version: str

    def block(self, inferences: int) -> list[float]:
        """The seconds that each of so many inferences took, warm."""


@dataclass(frozen=True)
class Latency:
    """Seconds of one inference over all rounds; `ratio` is the median over rounds of the round's
    median divided by the first contender's."""

    name: str
    version: str
    inferences: int
    median_s: float
    p10_s: float
    p90_s: float
    ratio: float


def race(
    contenders: Sequence[Contender],
    *,
    inferences: int | None = None,
    rounds: int = ROUNDS,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Latency]:
    """The latencies of all contenders, measured in alternating blocks.

    `inferences` of each in all, over `rounds` rounds (fewer when there are fewer inferences);
    by default as many as fill blocks of a quarter of a second.
    """
    rounds = min(rounds, inferences or rounds)
    sizes = [_block_size(contender, inferences, rounds) for contender in contenders]
    times: list[list[list[float]]] = [[] for _ in contenders]
    for number in range(rounds):
        for step in range(len(contenders)):
            k = (number + step) % len(contenders)
            times[k].append(contenders[k].block(sizes[k]))
            progress(number * len(contenders) + step + 1, rounds * len(contenders))
    return [
        _summary(contender, blocks, times[0])
        for contender, blocks in zip(contenders, times, strict=True)
    ]


def percentile(sorted_values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed."""
    return sorted_values[max(0, -int(-share * len(sorted_values) // 1) - 1)]


def _block_size(contender: Contender, inferences: int | None, rounds: int) -> int:
    if inferences is not None:
        return -(-inferences // rounds)
    typical = median(contender.block(LEAST_INFERENCES))
    return max(LEAST_INFERENCES, min(100_000, int(BLOCK_S / max(typical, 1e-9))))


def _summary(contender: Contender, blocks: list[list[float]], ours: list[list[float]]) -> Latency:
    every = sorted(time for block in blocks for time in block)
    ratios = [median(block) / median(own) for block, own in zip(blocks, ours, strict=True)]
    return Latency(
        name=contender.name,
        version=contender.version,
        inferences=len(every),
        median_s=median(every),
        p10_s=percentile(every, 0.1),
        p90_s=percentile(every, 0.9),
        ratio=median(ratios),
    )
