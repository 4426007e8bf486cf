"""What a simulated program did when: spans of instructions, and what modules waited for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from qcompile.targets.vta.config import Buffer
from qcompile.targets.vta.instructions import Alu, Finish, Gemm, Instruction, Load, Queue, Store


class Unit(StrEnum):
    """What is busy: the modules, COMPUTE by what it does; TOKENS are no-ops."""

    LOAD = "load"
    GEMM = "gemm"
    ALU = "alu"
    COMPUTE_LOAD = "compute load"  # micro-ops and ACC
    STORE = "store"
    TOKENS = "tokens"


class Cause(StrEnum):
    """Why a module waits: for a token of another, for the memory port, for fetch."""

    LOAD = "load"
    COMPUTE = "compute"
    STORE = "store"
    PORT = "port"
    FETCH = "fetch"


@dataclass(frozen=True, slots=True)
class Span:
    """One instruction: cycles from the first one's start, and what its module waited before.

    `port`: cycles of the span itself in which a LOAD waits for another module's words.
    """

    start: int
    end: int
    queue: Queue
    unit: Unit
    waited: int
    cause: Cause | None
    port: int


@dataclass(frozen=True)
class Timeline:
    """`cycles`: from launch to the flag of FINISH. `spans`: by instruction number."""

    cycles: int
    spans: tuple[Span, ...]

    @property
    def busy(self) -> dict[Unit, int]:
        """Cycles in which each unit works."""
        total = dict.fromkeys(Unit, 0)
        for span in self.spans:
            total[span.unit] += span.end - span.start - span.port
        return total

    @property
    def waiting(self) -> dict[Queue, dict[Cause, int]]:
        """Cycles in which each module waits before an instruction, or for the port in it."""
        total = {queue: dict.fromkeys(Cause, 0) for queue in Queue}
        for span in self.spans:
            if span.cause:
                total[span.queue][span.cause] += span.waited
            total[span.queue][Cause.PORT] += span.port
        return total

    def part(self, numbers: range) -> Timeline:
        """The same of some instructions, a layer's: `cycles` from its first start to its end."""
        spans = tuple(self.spans[n] for n in numbers)
        first = min((span.start for span in spans), default=0)
        return Timeline(max((span.end for span in spans), default=0) - first, spans)


def unit_of(one: Instruction) -> Unit:
    match one:
        case Gemm():
            return Unit.GEMM
        case Alu():
            return Unit.ALU
        case Finish() | Load(x_size=0) | Store(x_size=0):
            return Unit.TOKENS
        case Load():
            on_load = one.memory in (Buffer.INP, Buffer.WGT)
            return Unit.LOAD if on_load else Unit.COMPUTE_LOAD
        case Store():
            return Unit.STORE
