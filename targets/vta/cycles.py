"""How long a program runs: the three queues, event by event.

Each module runs its queue in order; an instruction starts when the one before it has ended, its
tokens have come and fetch has delivered it. How long it runs is in `costs`, how LOADs disturb each
other in `port`. Fetch delivers instructions in order and waits while the queue of the next one
holds 512; its own reading (two words an instruction) is not counted, nor is memory latency.
Measured against the 43 shared programs (cycle simulation of the reference RTL): within 0.5 %.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from qcompile.errors import Deadlock
from qcompile.targets.vta.config import Config
from qcompile.targets.vta.costs import costs_of, cycles_of
from qcompile.targets.vta.instructions import Instruction, Load, Queue, queue_of
from qcompile.targets.vta.order import COMMANDS, LINKS, Flags, Link, expect_legal_flags, links_of
from qcompile.targets.vta.port import Transfer, begin
from qcompile.targets.vta.timeline import Cause, Span, Timeline, Unit, unit_of

__all__ = ["Cause", "Span", "Timeline", "Unit", "simulate", "unit_of"]


def simulate(config: Config, port_bytes: int, instructions: Sequence[Instruction]) -> Timeline:
    """Raises WrongTokens for illegal flags, and Deadlock; other rules are not checked here."""
    expect_legal_flags(instructions)
    machine = _Machine(config, port_bytes, instructions)
    machine.run()
    last = max((span.end for span in machine.spans.values()), default=0)
    spans = tuple(machine.spans[n] for n in range(len(instructions)))
    return Timeline(last + costs_of(port_bytes).program, spans)


@dataclass
class _Running:
    number: int
    start: int
    end: int
    waited: int
    cause: Cause | None
    port: int
    transfer: Transfer | None


_CAUSES = {queue: Cause(queue.name.lower()) for queue in Queue}
_OTHER = {Queue.LOAD: Queue.COMPUTE, Queue.COMPUTE: Queue.LOAD}


class _Machine:
    """The queues at one moment, `now`."""

    def __init__(
        self, config: Config, port_bytes: int, instructions: Sequence[Instruction]
    ) -> None:
        self.config = config
        self.port_bytes = port_bytes
        self.instructions = instructions
        self.queues = [queue_of(one) for one in instructions]
        self.flags: list[Flags] = [
            links_of(queue, one.tokens)
            for queue, one in zip(self.queues, instructions, strict=True)
        ]
        self.commands: dict[Queue, deque[int]] = {queue: deque() for queue in Queue}
        self.fetched_at = [0] * len(instructions)
        self.fetched = 0
        # When each token that nobody has taken yet was given.
        self.tokens: dict[Link, deque[int]] = {link: deque() for link in LINKS}
        self.running: dict[Queue, _Running] = {}
        self.idle_since = dict.fromkeys(Queue, 0)
        self.spans: dict[int, Span] = {}
        self.now = 0

    def run(self) -> None:
        while len(self.spans) < len(self.instructions):
            self._start_what_can()
            if not self.running:
                heads = [n for queue in self.commands.values() for n in list(queue)[:1]]
                raise Deadlock(f"after cycle {self.now}, instructions {heads} wait for ever")
            queue = min(self.running, key=lambda queue: self.running[queue].end)
            self._end(queue, self.running.pop(queue))

    def _start_what_can(self) -> None:
        started = True
        while started:
            self._fetch()
            started = False
            for queue in Queue:
                waiting = self.commands[queue]
                if queue in self.running or not waiting:
                    continue
                if all(self.tokens[link] for link in self.flags[waiting[0]].pops):
                    self._start(queue, waiting.popleft())
                    started = True

    def _fetch(self) -> None:
        while self.fetched < len(self.instructions):
            queue = self.commands[self.queues[self.fetched]]
            if len(queue) == COMMANDS:
                return
            queue.append(self.fetched)
            self.fetched_at[self.fetched] = self.now
            self.fetched += 1

    def _start(self, queue: Queue, n: int) -> None:
        one = self.instructions[n]
        reasons = [(self.tokens[link].popleft(), _CAUSES[link[0]]) for link in self.flags[n].pops]
        reasons.append((self.fetched_at[n], Cause.FETCH))
        waited = self.now - self.idle_since[queue]
        cause = max(reasons)[1] if waited else None
        transfer, port = None, 0
        if isinstance(one, Load) and one.x_size:
            other = self.running.get(_OTHER[queue])
            theirs = other.transfer if other else None
            transfer, port = begin(self.config, one, self.port_bytes, self.now, theirs)
            end = transfer.end
            if other and theirs:
                other.port += theirs.end - other.end
                other.end = theirs.end
        else:
            end = self.now + cycles_of(self.config, one, self.port_bytes)
        self.running[queue] = _Running(n, self.now, end, waited, cause, port, transfer)

    def _end(self, queue: Queue, done: _Running) -> None:
        self.now = self.idle_since[queue] = done.end
        unit = unit_of(self.instructions[done.number])
        self.spans[done.number] = Span(
            done.start, done.end, queue, unit, done.waited, done.cause, done.port
        )
        for link in self.flags[done.number].pushes:
            self.tokens[link].append(self.now)
