"""Cycles of blocks by LLVM's scheduling models, from llvm-mca, kept in the user's cache.

A block is taken to follow itself: its cycles are those that one more iteration costs in the steady
state. That is what a loop does; for a block that is no loop it charges the dependences inside it
as far as the core cannot overlap them with the next block.

LLVM's in-order cores also retire in order unless their model says otherwise. That of the Cortex-A53
does not: a load or an integer instruction right behind a vector instruction waits for it, some
cycles more than the core itself would. Its estimates are on the slow side.
"""

import hashlib
import json
import re
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

from qcompile.errors import ModelError
from qcompile.files import cache_root, make_folder
from qcompile.model_device.core import Core
from qcompile.model_device.disassembly import INSTALL, all_features
from qcompile.model_device.emulate import find_tool

# Iterations before the steady state and in it, by the instructions of a block: a loop of few
# instructions needs some until the core's queues are full.
ITERATIONS = ((32, 24, 120), (256, 6, 30), (1 << 30, 2, 6))
AT_A_TIME = 500  # blocks of a process: bounds its memory

Texts = tuple[str, ...]


@dataclass(frozen=True)
class BlockCycles:
    """cycles: of one execution; unknown: instructions without a model, which are not in it."""

    cycles: float
    unknown: int


def block_cycles(blocks: Sequence[Texts], core: Core, triple: str) -> dict[Texts, BlockCycles]:
    """The cycles of each block of instructions. Raises ModelError or OutputError."""
    tool = find_tool("llvm-mca-19", INSTALL)
    command = [tool, f"-mtriple={triple}", f"-mcpu={core.schedule}"]
    command += [all_features(triple)] if triple.startswith("arm") else []
    with _opened() as store:
        keys = {block: _key(block, core.schedule, triple) for block in blocks}
        found = _stored(store, keys)
        missing = [block for block in keys if block not in found]
        for limit, few, many in ITERATIONS:
            lower = max((a for a, _, _ in ITERATIONS if a < limit), default=0)
            fitting = [block for block in missing if lower < len(block) <= limit]
            for part in _parts(fitting):
                new = _steady(command, part, few, many)
                rows = [(keys[block], got.cycles, got.unknown) for block, got in new.items()]
                with store:  # what is found is kept at once, and nobody waits for the next part
                    store.executemany("insert or ignore into cycles values (?, ?, ?)", rows)
                found |= new
    return found


@contextmanager
def _opened() -> Iterator[sqlite3.Connection]:
    """The cycles of known blocks, in the user's cache."""
    folder = cache_root() / "model"
    make_folder(folder)
    path = folder / "mca-19.sqlite"
    try:
        with closing(sqlite3.connect(path, timeout=60)) as store:
            store.execute(
                "create table if not exists cycles (key text primary key, c real, u integer)"
            )
            yield store
    except sqlite3.Error as error:
        hint = "remove it, or set XDG_CACHE_HOME to another folder"
        raise ModelError(f"{path}: {error}; {hint}") from error


def _key(block: Texts, schedule: str, triple: str) -> str:
    text = "\n".join([schedule, triple, all_features(triple), str(ITERATIONS), *block])
    return hashlib.sha256(text.encode()).hexdigest()


def _stored(store: sqlite3.Connection, keys: Mapping[Texts, str]) -> dict[Texts, BlockCycles]:
    found = {}
    for block, key in keys.items():
        row = store.execute("select c, u from cycles where key = ?", (key,)).fetchone()
        if row is not None:
            found[block] = BlockCycles(*row)
    return found


def _parts(blocks: Sequence[Texts]) -> Iterator[Sequence[Texts]]:
    for begin in range(0, len(blocks), AT_A_TIME):
        yield blocks[begin : begin + AT_A_TIME]


def _steady(
    command: list[str], blocks: Sequence[Texts], few: int, many: int
) -> dict[Texts, BlockCycles]:
    source = "".join(
        f"# LLVM-MCA-BEGIN {k}\n" + "\n".join(map(_without_target, block)) + "\n# LLVM-MCA-END\n"
        for k, block in enumerate(blocks)
    )
    short, long = (_simulate(command, source, iterations) for iterations in (few, many))
    return {
        block: BlockCycles(
            (long[k][0] - short[k][0]) / (many - few), len(block) - long[k][1] // many
        )
        if k in long
        else BlockCycles(0.0, len(block))
        for k, block in enumerate(blocks)
    }


def _simulate(command: list[str], source: str, iterations: int) -> dict[int, tuple[int, int]]:
    """The cycles and instructions of each region that has instructions."""
    options = [f"-iterations={iterations}", "-json", "-all-views=0", "-summary-view"]
    options += ["-skip-unsupported-instructions=any"]
    done = subprocess.run([*command, *options], input=source, capture_output=True, text=True)
    if done.returncode != 0:
        raise ModelError(f"{command[0]}: {done.stderr.strip()}")
    regions = json.loads(done.stdout)["CodeRegions"]
    return {
        int(region["Name"]): (
            region["SummaryView"]["TotalCycles"],
            region["SummaryView"]["Instructions"],
        )
        for region in regions
    }


def _without_target(text: str) -> str:
    """A jump instead of a call or return, which llvm-mca charges 100 cycles for its callee."""
    name, _, rest = text.partition(" ")
    if name == "bl":
        return f"b {rest}"
    if name in ("blr", "blx", "ret"):
        return f"br {rest or 'x30'}" if not rest.startswith("r") else f"bx {rest}"
    return re.sub(r"^svc .*", "nop", text)
