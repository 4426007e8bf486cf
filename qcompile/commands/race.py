"""Measure contenders alternately, so that a change of the machine's speed hits all of them.

Each round measures one block of inferences of every contender, a different one first each time.
Ratios are taken within a round and only then summarized.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Protocol

from qcompile.errors import DeviceLost

BLOCK_S = 0.25  # long enough for clocks and caches to settle, short against changes of load
ROUNDS = 7
LEAST_INFERENCES = 3
DRIFT_ROUNDS = 3


class Contender(Protocol):
    """Something whose inferences can be timed; it is idle outside `block`."""

    name: str
    version: str

    def block(self, inferences: int) -> list[float]:
        """The seconds that each of so many inferences took, warm."""


@dataclass(frozen=True)
class Latency:
    """Seconds of one inference over all rounds; `ratio` is the median over rounds of the round's
    median divided by the first contender's; `drift` is that of the last three rounds divided by
    the first three's, 1 where there are fewer than six."""

    name: str
    version: str
    inferences: int
    median_s: float
    p10_s: float
    p90_s: float
    ratio: float
    drift: float


class LostInRace(DeviceLost):
    """The device of a contender is gone; `latencies` are those of the rounds before."""

    def __init__(self, message: str, rounds: int, latencies: list[Latency]) -> None:
        super().__init__(message)
        self.rounds = rounds
        self.latencies = latencies


def race(
    contenders: Sequence[Contender],
    *,
    inferences: int | None = None,
    rounds: int = ROUNDS,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Latency]:
    """The latencies of all contenders, measured in alternating blocks.

    `inferences` of each in all, over `rounds` rounds (fewer when there are fewer inferences);
    by default as many as fill blocks of a quarter of a second. Raises LostInRace when a device
    disappears after the first round.
    """
    rounds = min(rounds, inferences or rounds)
    sizes = [_block_size(contender, inferences, rounds) for contender in contenders]
    times: list[list[list[float]]] = [[] for _ in contenders]
    for number in range(rounds):
        for step in range(len(contenders)):
            k = (number + step) % len(contenders)
            try:
                times[k].append(contenders[k].block(sizes[k]))
            except DeviceLost as error:
                if number == 0:
                    raise
                finished = _summaries(contenders, [blocks[:number] for blocks in times])
                raise LostInRace(str(error), number, finished) from error
            progress(number * len(contenders) + step + 1, rounds * len(contenders))
    return _summaries(contenders, times)


def percentile(sorted_values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed."""
    return sorted_values[max(0, -int(-share * len(sorted_values) // 1) - 1)]


def _block_size(contender: Contender, inferences: int | None, rounds: int) -> int:
    if inferences is not None:
        return -(-inferences // rounds)
    typical = median(contender.block(LEAST_INFERENCES))
    return max(LEAST_INFERENCES, min(100_000, int(BLOCK_S / max(typical, 1e-9))))


def _summaries(
    contenders: Sequence[Contender], times: Sequence[list[list[float]]]
) -> list[Latency]:
    return [
        _summary(contender, blocks, times[0])
        for contender, blocks in zip(contenders, times, strict=True)
    ]


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
        drift=_drift([median(block) for block in blocks]),
    )


def _drift(medians: Sequence[float]) -> float:
    if len(medians) < 2 * DRIFT_ROUNDS:
        return 1.0
    return median(medians[-DRIFT_ROUNDS:]) / median(medians[:DRIFT_ROUNDS])
