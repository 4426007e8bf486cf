"""Each rule of the portable subset, broken alone."""

from dataclasses import replace

import numpy as np
import pytest
from vta_conv import Conv
from vta_generator import Generator, small
from vta_shared import CYCLES, REASON, images, program

from qcompile.targets.vta.config import DEFAULT, Buffer
from qcompile.targets.vta.encoding import encode_uops
from qcompile.targets.vta.instructions import (
    Alu,
    AluOp,
    Finish,
    Gemm,
    Load,
    Queue,
    Store,
    Tokens,
    no_op,
)
from qcompile.targets.vta.lint import Rule, lint

# Micro-ops 0..7: u -> (u, u, 0). 8: src is not dst. 9, 10: one dst. 11: far away.
UOPS = [*((u, u, 0) for u in range(8)), (3, 4, 0), (5, 5, 0), (5, 5, 0), (2000, 2000, 0)]
GIVE, TAKE = Tokens(push_next=True), Tokens(pop_prev=True)
BACK, TAKE_BACK = Tokens(push_prev=True), Tokens(pop_next=True)
DATA = np.zeros(0x4000, np.uint8)
DATA[: 4 * len(UOPS)] = np.frombuffer(encode_uops(DEFAULT, UOPS), np.uint8)


def computation(*body):
    """A program on 8 elements of ACC, and of INP and WGT that LOAD brought."""
    return [
        Load(Buffer.UOP, 0, 0x400, 1, len(UOPS), len(UOPS)),
        Load(Buffer.ACC, 0, 0x80, 1, 8, 8),
        Load(Buffer.INP, 0, 0x200, 1, 8, 8),
        Load(Buffer.WGT, 0, 0x20, 1, 2, 2, tokens=GIVE),
        no_op(Queue.COMPUTE, TAKE),
        *body,
        Finish(),
    ]


def adding(op=AluOp.ADD, uops=(0, 8), **fields):
    return Alu(op, uops, (1, 1), **{"immediate": 0, **fields})


STORED = Store(0, 0x300, 1, 8, 8, Tokens(pop_prev=True, push_prev=True))
FEW = [no_op(Queue.LOAD, GIVE)] * 7
LEGAL = [
    computation(adding(), Gemm((0, 8), (1, 1))),
    computation(adding(tokens=GIVE), STORED, no_op(Queue.COMPUTE, TAKE_BACK)),
    computation(adding(AluOp.SHR, immediate=15), adding(AluOp.SHR, immediate=-16)),
    computation(Gemm((9, 11), (1, 1), reset=True)),
    computation(*FEW, *[no_op(Queue.COMPUTE, TAKE)] * 7),
]
BROKEN = [
    (Rule.FLAGS, 5, computation(no_op(Queue.LOAD, BACK))),
    (Rule.TOKENS, None, computation(no_op(Queue.COMPUTE, GIVE))),
    (Rule.FEW_TOKENS, None, computation(*FEW, FEW[0], *[no_op(Queue.COMPUTE, TAKE)] * 8)),
    (
        Rule.DEADLOCK,
        None,
        computation(
            no_op(Queue.LOAD, TAKE_BACK),
            *[no_op(Queue.LOAD, Tokens())] * 500,
            no_op(Queue.LOAD, GIVE),
            no_op(Queue.COMPUTE, BACK),
            no_op(Queue.COMPUTE, TAKE),
        ),
    ),
    (Rule.FINISH, None, computation()[:-1]),
    (Rule.FINISH, None, [*computation()[:-1], Finish(TAKE)]),
    (Rule.FINISHED, 6, computation(Load(Buffer.INP, 0, 0x200, 1, 8, 8))),
    (Rule.MUL, 5, computation(adding(AluOp.MUL))),
    (Rule.SHIFT, 5, computation(adding(AluOp.SHR, immediate=16))),
    (Rule.SHIFT, 5, computation(adding(AluOp.SHR, immediate=-17))),
    (
        Rule.WGT_PADS,
        5,
        computation(
            Load(Buffer.WGT, 8, 0x20, 1, 1, 1, (0, 0, 1, 0), GIVE), no_op(Queue.COMPUTE, TAKE)
        ),
    ),
    (Rule.UOP_ROWS, 5, computation(Load(Buffer.UOP, 16, 0x400, 2, 2, 2))),
    (Rule.UOP_ROWS, 5, computation(Load(Buffer.UOP, 16, 0x400, 1, 2, 2, (0, 0, 0, 1)))),
    (Rule.UOP_ALIGNED, 5, computation(Load(Buffer.UOP, 16, 0x401, 1, 2, 2))),
    (Rule.EMPTY, 5, computation(Load(Buffer.ACC, 8, 0x80, 0, 2, 2))),
    (Rule.EMPTY, 5, computation(adding(uops=(4, 4)))),
    (Rule.EMPTY, 5, computation(replace(adding(), extents=(1, 0)))),
    (Rule.EMPTY, 5, computation(Gemm((0, 1), (0, 1)))),
    (Rule.INSIDE, 5, computation(Load(Buffer.ACC, 2044, 0x80, 1, 8, 8))),
    (Rule.INSIDE, 5, computation(Load(Buffer.ACC, 0, 0x150, 1, 8, 8))),
    (Rule.INSIDE, 5, computation(replace(adding(uops=(11, 12)), extents=(2, 1), dst=(48, 0),
                                         src=(48, 0)))),
    (Rule.WRITTEN, 5, computation(adding(uops=(0, 13)))),
    (Rule.WRITTEN, 5, computation(adding(uops=(11, 12)))),
    (
        Rule.WRITTEN,
        6,
        computation(no_op(Queue.COMPUTE, GIVE), STORED, no_op(Queue.COMPUTE, TAKE_BACK)),
    ),
    (
        Rule.ORDERED,
        6,
        computation(
            Load(Buffer.INP, 0, 0x200, 1, 8, 8, tokens=GIVE),
            Gemm((0, 8), (1, 1)),
            no_op(Queue.COMPUTE, TAKE),
        ),
    ),
    (Rule.SAME_SOURCE, 5, computation(adding(uops=(8, 9)))),
    (Rule.SAME_SOURCE, 5, computation(replace(adding(), dst=(1, 0)))),
    (Rule.GEMM_DISTANCE, 5, computation(Gemm((9, 11), (1, 1)))),
    (Rule.GEMM_DISTANCE, 5, computation(Gemm((0, 2), (1, 2)))),
    (Rule.ALU_DISTANCE, 5, computation(adding(uops=(9, 11)))),
    (Rule.ALU_DISTANCE, 5, computation(replace(adding(uops=(0, 3)), extents=(1, 2)))),
    # Reads as src what the iteration before wrote.
    (
        Rule.ALU_DISTANCE,
        5,
        computation(Alu(AluOp.ADD, (1, 2), (1, 4), dst=(0, 1), src=(0, 0), immediate=None)),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "place", "instructions"), BROKEN)
def test_finds_the_broken_rule(rule, place, instructions):
    found = lint(DEFAULT, instructions, DATA)
    assert (rule, place) in [(one.rule, one.place) for one in found]
    others = {one.rule for one in found} - {rule}
    # Empty loops are outside of every buffer, too.
    assert others <= ({Rule.INSIDE} if rule == Rule.EMPTY else set()), [str(one) for one in found]


def test_every_rule_has_a_test():
    assert {rule for rule, _, _ in BROKEN} | {Rule.ENCODABLE} == set(Rule)


@pytest.mark.parametrize("instructions", LEGAL)
def test_near_misses_are_legal(instructions):
    assert lint(DEFAULT, instructions, DATA) == []


def test_names_what_cannot_be_encoded():
    config = replace(DEFAULT, log_inp_buff_size=14)
    (found,) = lint(config, computation(), DATA)
    assert found.rule == Rule.ENCODABLE
    assert str(found).startswith("program: the configuration is encodable; I >= A")


def test_says_where_and_what():
    (found,) = lint(DEFAULT, computation(adding(AluOp.SHR, immediate=16)))
    assert str(found) == (
        "instruction 5: shift immediates lie within the signed range of log2 ACC_WIDTH bits; "
        "shifts by 16; -16 to 15 is the range"
    )


def test_generated_programs_are_portable():
    for seed in range(20):
        config = small()
        assert lint(config, *Generator(config, seed).program()) == []


def test_convolution_is_portable():
    conv = Conv(14, 14, 64, 64, rows=7)
    assert lint(DEFAULT, conv.program(), conv.image()[0]) == []


@pytest.mark.shared
@pytest.mark.skipif(not CYCLES, reason=REASON)
def test_reference_programs_keep_all_rules_but_the_distance_of_sums():
    for name in CYCLES:
        data = images(name)[0] if name.startswith(("small", "random")) else None
        rules = {one.rule for one in lint(*program(name), data)}
        assert rules <= {Rule.GEMM_DISTANCE}, name
