"""Straight runs of instructions, from the overlapping blocks that an emulator translates.

A translated block may begin in the middle of another, and ends at a page or after 512
instructions. Executions are therefore added up for each address; a run ends where control flow can
leave it (behind a branch) or join it (where the executions change). A conditional branch that is
never taken ends no run.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from qcompile.model_device.disassembly import disassemble, is_branch, is_conditional
from qcompile.model_device.emulate import Trace


@dataclass(frozen=True)
class Block:
    """Instructions in a row, as bytes and as text (None: unknown), and how often a step runs it."""

    address: int
    codes: tuple[bytes, ...]
    texts: tuple[str | None, ...]
    executions: Mapping[int, int]

    @property
    def instructions(self) -> int:
        """How many are executed in all steps."""
        return sum(self.executions.values()) * len(self.codes)


def straight_runs(trace: Trace, triple: str) -> list[Block]:
    """The blocks of a program by address, each executed as often at its end as at its begin."""
    codes: dict[int, bytes] = {}
    counts: dict[int, Counter[int]] = defaultdict(Counter)
    whole = [
        (s, number, 0, n) for s, found in trace.executions.items() for number, n in found.items()
    ]
    for step, number, first, count in [*whole, *trace.parts]:
        address, instructions = trace.blocks[number]
        for place, code in enumerate(instructions):
            if place >= first:
                codes[address] = code
                counts[address][step] += count
            address += len(code)
    texts = disassemble(sorted(set(codes.values())), triple)
    executed = {address: dict(+found) for address, found in counts.items() if +found}
    return [
        Block(run[0], inside, tuple(texts[code] for code in inside), executed[run[0]])
        for run in _runs(executed, codes, texts)
        for inside in [tuple(codes[address] for address in run)]
    ]


def _runs(
    executed: Mapping[int, Mapping[int, int]],
    codes: Mapping[int, bytes],
    texts: Mapping[bytes, str | None],
) -> list[list[int]]:
    """The addresses of each run."""
    runs: list[list[int]] = []
    for address in sorted(executed):
        if runs:
            last = runs[-1][-1]
            text = texts[codes[last]] or ""
            adjoins = last + len(codes[last]) == address and executed[last] == executed[address]
            if adjoins and (not is_branch(text) or is_conditional(text)):
                runs[-1].append(address)
                continue
        runs.append([address])
    return runs
