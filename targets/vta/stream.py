"""Instructions of three queues, and the tokens that order them.

Instructions are written as if one ran after the other. Where one needs the work of another module,
`wait` says so, and both get the flag of a token. Tokens are counters between neighbours: one is
given only for an instruction that no earlier token already stands for, so that the k-th one taken
is the k-th given.
"""

from __future__ import annotations

from dataclasses import replace

from qcompile.targets.vta.instructions import (
    Finish,
    Instruction,
    Queue,
    Tokens,
    no_op,
    queue_of,
)

MOST_TOKENS = 8  # between two modules: what every implementation holds (the HLS model's queues)
TOKENS_AHEAD = 4  # which an instruction may add to; the rest is for those that were written with it

Link = tuple[Queue, Queue]  # giver, taker


class Stream:
    """Instructions in the order they are written."""

    def __init__(self) -> None:
        self.instructions: list[Instruction] = []
        self._numbers: dict[Queue, list[int]] = {queue: [] for queue in Queue}
        self._flags: list[set[str]] = []  # of Tokens, by instruction
        self._needed: dict[Queue, int] = {}  # positions that the last instruction waits for
        # By token: the position in its queue of the instruction that takes it.
        self._takers: dict[Link, list[int]] = {(a, b): [] for a in Queue for b in Queue}
        # The highest position in the giver's queue that the taker has waited for.
        self._known: dict[Link, int] = {(a, b): 0 for a in Queue for b in Queue}
        # The same as each instruction of the taker's queue knew it.
        self._knew: dict[Link, list[int]] = {(a, b): [] for a in Queue for b in Queue}

    def count(self, queue: Queue) -> int:
        """How many instructions a queue has: the position of its last one."""
        return len(self._numbers[queue])

    def add(self, one: Instruction) -> None:
        self._take_tokens()
        mine = queue_of(one)
        self._numbers[mine].append(len(self.instructions))
        self.instructions.append(one)
        self._flags.append(set())
        for other in Queue:
            takers = self._takers[mine, other]
            if len(takers) >= TOKENS_AHEAD:
                self.wait(other, takers[-TOKENS_AHEAD])

    def wait(self, giver: Queue, position: int) -> None:
        """The last instruction waits for that one of another module; 0 is none."""
        if position:
            self._needed[giver] = max(self._needed.get(giver, 0), position)

    def finished(self) -> list[Instruction]:
        """All instructions with their tokens, and FINISH behind the work of all modules."""
        self.add(no_op(Queue.COMPUTE, Tokens()))
        for queue in (Queue.LOAD, Queue.STORE):
            self.wait(queue, self.count(queue))
        self._take_tokens()
        flagged = [
            replace(one, tokens=Tokens(**dict.fromkeys(flags, True))) if flags else one
            for one, flags in zip(self.instructions, self._flags, strict=True)
        ]
        return [*flagged, Finish()]

    def _take_tokens(self) -> None:
        """The last instruction is complete: it takes a token where it needs to wait."""
        if not self.instructions:
            return
        taker = queue_of(self.instructions[-1])
        for giver, position in self._needed.items():
            if position > self._known[giver, taker]:
                self._give(giver, taker, position)
        self._needed.clear()
        for giver in Queue:
            self._knew[giver, taker].append(self._known[giver, taker])

    def _give(self, giver: Queue, taker: Queue, position: int) -> None:
        """A token to the last instruction: of that position, or of the last one where many wait."""
        takers = self._takers[giver, taker]
        known = self._knew[taker, giver][position - 1]
        if sum(taken > known for taken in takers[-MOST_TOKENS:]) >= MOST_TOKENS - 1:
            position = self.count(giver)
        self._known[giver, taker] = position
        takers.append(self.count(taker))
        self._flags[-1].add("pop_prev" if giver < taker else "pop_next")
        push = "push_next" if giver < taker else "push_prev"
        self._flags[self._numbers[giver][position - 1]].add(push)
