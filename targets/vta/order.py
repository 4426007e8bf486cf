"""What the tokens order: one legal sequence of a program, and who happens before whom.

Tokens carry no data and queues are in order, so the k-th token taken is the k-th given. Which
instructions happen before which therefore does not depend on timing, and if one run finishes,
all do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from qcompile.errors import Deadlock, WrongTokens
from qcompile.targets.vta.instructions import Instruction, Queue, Tokens, queue_of

COMMANDS = 512  # instructions that a module's queue holds; fetch waits for room in order

Clock = tuple[int, int, int]
Link = tuple[Queue, Queue]
LINKS: tuple[Link, ...] = (
    (Queue.LOAD, Queue.COMPUTE),
    (Queue.COMPUTE, Queue.LOAD),
    (Queue.COMPUTE, Queue.STORE),
    (Queue.STORE, Queue.COMPUTE),
)


@dataclass(frozen=True)
class Order:
    """`sequence`: instruction numbers in a legal order. `queues`, by instruction number: its queue.

    `clocks`, by instruction number: how many instructions of LOAD, COMPUTE and STORE happen
    before it, itself included. `fullest`: the most tokens that each link may hold.
    """

    sequence: list[int]
    queues: list[Queue]
    clocks: list[Clock]
    fullest: dict[Link, int]


class Flags(NamedTuple):
    """The links an instruction takes tokens from and gives tokens to."""

    pops: tuple[Link, ...]
    pushes: tuple[Link, ...]


@lru_cache
def links_of(queue: Queue, tokens: Tokens) -> Flags:
    """Raises KeyError where LOAD has no previous or STORE no next neighbour."""
    if not (tokens.pop_prev or tokens.pop_next or tokens.push_prev or tokens.push_next):
        return Flags((), ())
    before, after = queue - 1, queue + 1
    pops = [before] * tokens.pop_prev + [after] * tokens.pop_next
    pushes = [before] * tokens.push_prev + [after] * tokens.push_next
    return Flags(
        tuple((_NEIGHBOURS[other], queue) for other in pops),
        tuple((queue, _NEIGHBOURS[other]) for other in pushes),
    )


_NEIGHBOURS = {int(queue): queue for queue in Queue}


def illegal_flags(instructions: Sequence[Instruction]) -> Iterator[tuple[int, str]]:
    """Instructions with a token flag for a neighbour that does not exist, and the flag."""
    for n, one in enumerate(instructions):
        queue = queue_of(one)
        if queue == Queue.LOAD and (one.tokens.pop_prev or one.tokens.push_prev):
            yield n, "LOAD has no previous module"
        if queue == Queue.STORE and (one.tokens.pop_next or one.tokens.push_next):
            yield n, "STORE has no next module"


def expect_legal_flags(instructions: Sequence[Instruction]) -> None:
    """Raises WrongTokens where a flag is for a neighbour that does not exist."""
    for n, found in illegal_flags(instructions):
        raise WrongTokens(f"instruction {n} ({type(instructions[n]).__name__}): {found}")


def order(instructions: Sequence[Instruction], commands: int = COMMANDS) -> Order:
    """Raises WrongTokens and Deadlock."""
    expect_legal_flags(instructions)
    run = _Run(instructions, commands)
    run.finish()
    return Order(run.sequence, run.queues, run.clocks, run.fullest)


class _Run:
    """The queues while a program runs, as far as tokens see it."""

    def __init__(self, instructions: Sequence[Instruction], commands: int) -> None:
        self.instructions = instructions
        self.commands = commands
        self.queues = [queue_of(one) for one in instructions]
        self.flags = [
            links_of(queue, one.tokens)
            for queue, one in zip(self.queues, instructions, strict=True)
        ]
        self.waiting: dict[Queue, deque[int]] = {queue: deque() for queue in Queue}
        self.tokens: dict[Link, deque[Clock]] = {link: deque() for link in LINKS}
        self.now: dict[Queue, Clock] = dict.fromkeys(Queue, (0, 0, 0))
        self.sequence: list[int] = []
        self.clocks: list[Clock] = [(0, 0, 0)] * len(instructions)
        self.fetched = 0
        self.given: dict[Link, int] = dict.fromkeys(LINKS, 0)
        # How many tokens of a link its taker had taken after each instruction of its queue.
        self.taken: dict[Link, list[int]] = {link: [0] for link in LINKS}
        self.fullest: dict[Link, int] = dict.fromkeys(LINKS, 0)

    def finish(self) -> None:
        while len(self.sequence) < len(self.instructions):
            before = len(self.sequence) + self.fetched
            self._fetch()
            for queue in Queue:
                self._advance(queue)
            if len(self.sequence) + self.fetched == before:
                raise Deadlock(self._stuck())
        left = {link: len(tokens) for link, tokens in self.tokens.items() if tokens}
        for (giver, taker), count in left.items():
            raise WrongTokens(
                f"{count} tokens of {giver.name} to {taker.name} are left at the end; "
                "take them with no-ops before FINISH"
            )

    def _fetch(self) -> None:
        while self.fetched < len(self.instructions):
            queue = self.waiting[self.queues[self.fetched]]
            if len(queue) == self.commands:
                return
            queue.append(self.fetched)
            self.fetched += 1

    def _advance(self, queue: Queue) -> None:
        waiting = self.waiting[queue]
        while waiting and all(self.tokens[link] for link in self.flags[waiting[0]].pops):
            self._step(queue, waiting.popleft())

    def _step(self, queue: Queue, n: int) -> None:
        flags = self.flags[n]
        own = [*self.now[queue]]
        own[queue] += 1
        for link in flags.pops:
            own = [max(pair) for pair in zip(own, self.tokens[link].popleft(), strict=True)]
        clock = (own[0], own[1], own[2])
        for link in _INCOMING[queue]:
            self.taken[link].append(self.taken[link][-1] + (link in flags.pops))
        for link in flags.pushes:
            self.tokens[link].append(clock)
            self.given[link] += 1
            # The giver knows of no later instruction of the taker than its clock says.
            held = self.given[link] - self.taken[link][clock[link[1]]]
            self.fullest[link] = max(self.fullest[link], held)
        self.now[queue] = self.clocks[n] = clock
        self.sequence.append(n)

    def _stuck(self) -> str:
        """Who waits for whom, in words."""
        parts = []
        for queue, waiting in self.waiting.items():
            if waiting:
                missing = [a.name for a, b in self.flags[waiting[0]].pops if not self.tokens[a, b]]
                givers = " and ".join(missing)
                parts.append(f"{queue.name} waits at instruction {waiting[0]} for {givers}")
        if self.fetched < len(self.instructions):
            full = self.queues[self.fetched].name
            parts.append(
                f"fetch waits at instruction {self.fetched} for room in the queue of {full}, "
                f"which holds {self.commands}; interleave producers and consumers"
            )
        return "; ".join(parts)


_INCOMING: dict[Queue, tuple[Link, ...]] = {
    queue: tuple(link for link in LINKS if link[1] == queue) for queue in Queue
}
