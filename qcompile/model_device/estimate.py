"""Modelled cycles of a program on a core.

cycles of a step = max(compute, streams) + stalls

compute: executions x cycles of each block (`mca.py`), all data in the nearest cache.
streams: lines of data that are read in order or written, over the bandwidth of where they are;
         prefetchers and write buffers move them while the core computes.
stalls:  other lines, their latency over the misses that the core has under way at a time.

Left out: mispredicted branches, instruction caches, address translation, other cores.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qcompile.model_device.blocks import Block, straight_runs
from qcompile.model_device.core import Core, load_core
from qcompile.model_device.emulate import Memory, Trace, run_counted
from qcompile.model_device.mca import BlockCycles, block_cycles
from qcompile.targets import Target

# Blocks that are, together, less of all instructions are not simulated, but charged as many cycles
# as the core needs to issue them: most of a program's code runs hardly ever.
RARE = 1e-4


@dataclass(frozen=True)
class StepEstimate:
    """A step of one inference. Cycles and counts are averages over the inferences counted."""

    step: int
    instructions: float
    compute_cycles: float
    stream_cycles: float
    stall_cycles: float
    memory: Memory

    @property
    def cycles(self) -> float:
        return max(self.compute_cycles, self.stream_cycles) + self.stall_cycles


@dataclass(frozen=True)
class BlockEstimate:
    """A block, for those who tune it: what all its executions cost, all steps together."""

    block: Block
    cycles_each: float
    cycles: float


@dataclass(frozen=True)
class Estimate:
    """A modelled run.

    unmodelled: the share of instructions that have no scheduling model; output: what the program
    printed.
    """

    target: Target
    core: Core
    inferences: int
    steps: tuple[StepEstimate, ...]
    blocks: tuple[BlockEstimate, ...]
    unmodelled: float
    output: str

    @property
    def cycles(self) -> float:
        return sum(step.cycles for step in self.steps)

    @property
    def instructions(self) -> float:
        return sum(step.instructions for step in self.steps)


def estimate(
    executable: str | Path,
    target: Target,
    arguments: Sequence[str] = (),
    *,
    warmup: int | None = None,
    inferences: int = 1,
) -> Estimate:
    """The modelled cycles of one inference of `executable` on the core of `target`.

    The program runs with `arguments` and marks its steps (`plugin.c`); what it does after `warmup`
    inferences is divided by `inferences`. warmup None: the whole program is one step. Raises
    ModelError when a tool is missing, the program fails, or nothing is known of the core.
    """
    core = load_core(target)
    triple = str(target.llvm["mtriple"])
    trace = run_counted(Path(executable), arguments, target, core, warmup)
    blocks = straight_runs(trace, triple)
    cycles = _cycles(blocks, core, triple)
    total = sum(block.instructions for block in blocks)
    unknown = sum(sum(b.executions.values()) * cycles[b.address].unknown for b in blocks)
    return Estimate(
        target=target,
        core=core,
        inferences=inferences,
        steps=tuple(
            _step(step, blocks, cycles, trace, core, inferences) for step in sorted(trace.memory)
        ),
        blocks=_costly(blocks, cycles),
        unmodelled=unknown / total,
        output=trace.output,
    )


def _cycles(blocks: Sequence[Block], core: Core, triple: str) -> dict[int, BlockCycles]:
    """The cycles of each block by its address, with instructions of no model at full issue."""
    total = sum(block.instructions for block in blocks)
    seldom, rare = 0, set()
    for block in sorted(blocks, key=lambda block: (block.instructions, block.address)):
        seldom += block.instructions
        if seldom > RARE * total:
            break
        rare.add(block.address)
    known = {
        block.address: tuple(text for text in block.texts if text is not None)
        for block in blocks
        if block.address not in rare
    }
    simulated = block_cycles([texts for texts in set(known.values()) if texts], core, triple)
    found = {}
    for block in blocks:
        texts = known.get(block.address, ())
        got = simulated[texts] if texts else BlockCycles(0.0, 0)
        unknown = got.unknown + len(block.codes) - len(texts)
        charged = got.cycles + unknown / core.issue_width
        found[block.address] = BlockCycles(charged, 0 if block.address in rare else unknown)
    return found


def _step(
    step: int,
    blocks: Sequence[Block],
    cycles: dict[int, BlockCycles],
    trace: Trace,
    core: Core,
    inferences: int,
) -> StepEstimate:
    run = [(block, block.executions[step]) for block in blocks if step in block.executions]
    memory = trace.memory[step]
    streams = sum(
        lines * core.line_bytes / bandwidth
        for lines, bandwidth in zip(memory.streamed, core.bytes_per_cycle, strict=True)
    )
    stalls = sum(
        lines * latency / core.overlap
        for lines, latency in zip(memory.alone, core.latency_cycles, strict=True)
    )
    return StepEstimate(
        step=step,
        instructions=sum(count * len(block.codes) for block, count in run) / inferences,
        compute_cycles=sum(count * cycles[b.address].cycles for b, count in run) / inferences,
        stream_cycles=streams / inferences,
        stall_cycles=stalls / inferences,
        memory=memory,
    )


def _costly(blocks: Sequence[Block], cycles: dict[int, BlockCycles]) -> tuple[BlockEstimate, ...]:
    """The blocks, those that cost most first."""
    found = [
        BlockEstimate(block, each, each * sum(block.executions.values()))
        for block in blocks
        for each in [cycles[block.address].cycles]
    ]
    return tuple(sorted(found, key=lambda one: (-one.cycles, one.block.address)))
