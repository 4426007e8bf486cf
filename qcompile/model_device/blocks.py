"""Straight runs of instructions, from the overlapping blocks that an emulator translates.

A translated block may begin in the middle of another, and ends at a page or after 512
instructions. Executions are therefore added up for each address; a run ends where control flow can
leave it (behind a branch) or join it (where the executions change). A conditional branch that is
never taken ends no run.
"""

from collections import Counter
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
    total: Counter[int] = Counter()
    of_step: dict[int, Counter[int]] = {}
    for step, executions in trace.executions.items():
        of_step[step] = Counter()
        for number, count in executions.items():
            address, instructions = trace.blocks[number]
            for code in instructions:
                codes[address] = code
                total[address] += count
                of_step[step][address] += count
                address += len(code)
    texts = disassemble(sorted(set(codes.values())), triple)
    blocks = []
    for run in _runs(codes, total, texts):
        counts = {step: found[run[0]] for step, found in of_step.items() if run[0] in found}
        inside = tuple(codes[address] for address in run)
        blocks.append(Block(run[0], inside, tuple(texts[code] for code in inside), counts))
    return blocks


def _runs(
    codes: Mapping[int, bytes], total: Mapping[int, int], texts: Mapping[bytes, str | None]
) -> list[list[int]]:
    """The addresses of each run."""
    runs: list[list[int]] = []
    for address in sorted(codes):
        if runs and _continues(runs[-1][-1], address, codes, total, texts):
            runs[-1].append(address)
        else:
            runs.append([address])
    return runs


def _continues(
    last: int,
    address: int,
    codes: Mapping[int, bytes],
    total: Mapping[int, int],
    texts: Mapping[bytes, str | None],
) -> bool:
    text = texts[codes[last]] or ""
    if last + len(codes[last]) != address or total[last] != total[address]:
        return False
    return not is_branch(text) or is_conditional(text)
