"""Blocks of hand-written traces: AArch64 instructions at address 0x1000 and up."""

import shutil
from struct import pack

import pytest

from qcompile.model_device.blocks import straight_runs
from qcompile.model_device.emulate import Trace

pytestmark = [
    pytest.mark.emulated,
    pytest.mark.skipif(shutil.which("llvm-mc-19") is None, reason="needs llvm-19"),
]

NOP, RETURN, UNKNOWN = (pack("<I", word) for word in (0xD503201F, 0xD65F03C0, 0xFFFFFFFF))
BACK = pack("<I", 0x54FFFFE1)  # b.ne to the instruction before
START = 0x1000


def runs(blocks, executions, parts=()):
    """(instructions before, instructions, executions of each step) of each block."""
    numbered = dict(enumerate((START + 4 * at, codes) for at, codes in blocks))
    trace = Trace(numbered, executions, list(parts), {}, "")
    found = straight_runs(trace, "aarch64-linux-gnu")
    return [((b.address - START) // 4, len(b.codes), b.executions) for b in found]


def test_joins_what_the_emulator_cut():
    blocks = [(0, (NOP,) * 512), (512, (NOP,) * 88 + (RETURN,))]
    assert runs(blocks, {0: {0: 7, 1: 7}}) == [(0, 601, {0: 7})]


def test_splits_where_a_loop_is_entered_again():
    # The first turn is translated with what precedes it, the others on their own.
    blocks = [(0, (NOP, NOP, NOP, BACK)), (2, (NOP, BACK))]
    assert runs(blocks, {0: {0: 1, 1: 99}}) == [(0, 2, {0: 1}), (2, 2, {0: 100})]


def test_a_branch_that_is_never_taken_ends_nothing():
    blocks = [(0, (NOP, BACK)), (2, (NOP, RETURN))]
    assert runs(blocks, {0: {0: 5, 1: 5}}) == [(0, 4, {0: 5})]


def test_a_return_ends_a_block():
    blocks = [(0, (NOP, RETURN)), (2, (NOP, RETURN))]
    assert runs(blocks, {0: {0: 5, 1: 5}}) == [(0, 2, {0: 5}), (2, 2, {0: 5})]


def test_a_mark_parts_the_block_that_it_is_in():
    # The mark is instruction 1: step 3 ends with it, step 4 has the rest.
    blocks = [(0, (NOP, NOP, NOP, NOP))]
    parts = [(3, 0, 2, -1), (4, 0, 2, 1)]
    assert runs(blocks, {3: {0: 1}}, parts) == [(0, 2, {3: 1}), (2, 2, {4: 1})]


def test_keeps_instructions_that_llvm_does_not_know():
    found = straight_runs(
        Trace({0: (START, (NOP, UNKNOWN, RETURN))}, {0: {0: 2}}, [], {}, ""), "aarch64-linux-gnu"
    )
    assert [block.texts for block in found] == [("nop", None, "ret")]
    assert found[0].instructions == 6
