"""What goes wrong between the modules: tokens, deadlocks, races, reads of what nobody wrote."""

from itertools import permutations
from random import Random

import numpy as np
import pytest
from vta_conv import Conv, without
from vta_generator import small
from vta_interpreter import Interpreter

from qcompile.errors import (
    Deadlock,
    InvalidInput,
    InvalidProgram,
    OutOfRange,
    Race,
    UnwrittenRead,
    WrongTokens,
)
from qcompile.targets.vta.config import DEFAULT, Buffer
from qcompile.targets.vta.encoding import encode_uops
from qcompile.targets.vta.functional import run
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
    queue_of,
)
from qcompile.targets.vta.order import links_of, order

CONV = Conv(8, 4, 12, 16, k=1, config=small(depth=7))
FLAGS = ("pop_prev", "pop_next", "push_prev", "push_next")


def test_double_buffered_convolution_is_exact():
    image, data, weights = CONV.image()
    run(CONV.config, CONV.program(), image)
    np.testing.assert_array_equal(CONV.result(image), CONV.expected(data, weights))


def test_removing_any_flag_is_caught():
    instructions = CONV.program()
    flags = [
        (n, flag)
        for n, one in enumerate(instructions)
        for flag in FLAGS
        if getattr(one.tokens, flag)
    ]
    for n, flag in flags:
        with pytest.raises((WrongTokens, Deadlock)):
            run(CONV.config, without(instructions, n, flag), CONV.image()[0])
    assert len(flags) > 60


def pairs(instructions):
    """The k-th giver and the k-th taker of each token: ((number, flag), (number, flag))."""
    givers, takers = {}, {}
    for n, one in enumerate(instructions):
        flags = links_of(queue_of(one), one.tokens)
        for link in flags.pushes:
            side = "push_next" if link[1] > link[0] else "push_prev"
            givers.setdefault(link, []).append((n, side))
        for link in flags.pops:
            side = "pop_prev" if link[1] > link[0] else "pop_next"
            takers.setdefault(link, []).append((n, side))
    return [pair for link in givers for pair in zip(givers[link], takers[link], strict=True)]


def schedules():
    """Which module goes on: strict priorities, and at random."""
    for ranks in permutations(Queue):
        yield lambda ready, ranks=ranks: min(ready, key=ranks.index)
    for seed in range(4):
        yield Random(seed).choice


def differs(instructions, expected):
    """Whether some schedule that the tokens allow leaves another image."""
    for choose in schedules():
        image = CONV.image()[0]
        try:
            Interpreter(CONV.config, image).run(instructions, choose)
        except KeyError:  # reads what was not written
            return True
        if not np.array_equal(image, expected):
            return True
    return False


def test_removing_any_token_that_matters_is_caught():
    instructions = CONV.program()
    expected = CONV.image()[0]
    run(CONV.config, instructions, expected)
    assert not differs(instructions, expected)
    caught, needed = 0, 0
    for giver, taker in pairs(instructions):
        less = without(without(instructions, *giver), *taker)
        try:
            run(CONV.config, less, CONV.image()[0])
        except InvalidProgram:
            caught += 1
            continue
        assert not differs(less, expected), (giver, taker)
        needed += 1
    # Only the first tokens that COMPUTE and STORE give back could be spared.
    assert caught > 3 * needed


def computation(*body, count=8):
    """A program of COMPUTE alone on 8 micro-ops u -> (u, u, 0) and 8 elements of ACC."""
    uops = Load(Buffer.UOP, 0, 0x400, 1, 8, 8)
    acc = Load(Buffer.ACC, 0, 0x80, 1, count, count)
    return [uops, acc, *body, Finish()]


def operating(op, uops, extents=(1, 1), dst=(0, 0), immediate=None):
    return computation(Alu(op, uops, extents, dst, immediate=immediate))


def loading(sram_base, dram_base, y_size=1):
    return computation(Load(Buffer.ACC, sram_base, dram_base, y_size, 8, 8))


def image():
    data = np.zeros(0x4000, np.uint8)
    words = encode_uops(DEFAULT, [(u, u, 0) for u in range(8)])
    data[: len(words)] = np.frombuffer(words, np.uint8)
    data[0x1000:0x2000] = np.random.default_rng(0).integers(0, 256, 0x1000)
    return data


COPY = Alu(AluOp.ADD, (0, 8), (1, 1), immediate=0)
GIVE, TAKE = Tokens(push_next=True), Tokens(pop_prev=True)
BACK, TAKE_BACK = Tokens(push_prev=True), Tokens(pop_next=True)


def stored(*between, load=TAKE_BACK):
    """Stores 8 elements, then loads them as INP, with some no-ops between."""
    return computation(
        Alu(AluOp.ADD, (0, 8), (1, 1), immediate=0, tokens=GIVE),
        Store(0, 0x300, 1, 8, 8, Tokens(pop_prev=True, push_prev=True)),
        *between,
        Load(Buffer.INP, 0, 0x300, 1, 8, 8, tokens=Tokens(False, load.pop_next, False, True)),
        no_op(Queue.COMPUTE, TAKE),
    )  # fmt: skip


def test_store_may_be_loaded_after_tokens_through_compute():
    data = image()
    run(DEFAULT, stored(no_op(Queue.COMPUTE, Tokens(False, True, True, False))), data)
    assert data[0x2000:0x2080].any()


ADD, DRAIN = Gemm((0, 1), (1, 1)), no_op(Queue.COMPUTE, TAKE)
PRODUCT = [
    *computation()[:-1],
    Load(Buffer.INP, 0, 0x200, 1, 1, 1),
    Load(Buffer.WGT, 0, 0x20, 1, 1, 1, tokens=GIVE),
    DRAIN,
]
LOADS = Load(Buffer.INP, 0, 0x100, 1, 4, 4)
MANY = [no_op(Queue.LOAD, Tokens())] * 600


@pytest.mark.parametrize(
    ("error", "message", "program"),
    [
        (
            Race,
            "instruction 3 .STORE. and instruction 5 .LOAD. touch the same elements of DRAM",
            stored(no_op(Queue.COMPUTE, TAKE_BACK), load=Tokens()),
        ),
        (Race, "FINISH may run before instruction 0 .LOAD.", [LOADS, Finish()]),
        (
            Race,
            "instruction 4 .STORE. and instruction 5 .COMPUTE. touch the same elements of OUT",
            computation(
                COPY,
                no_op(Queue.COMPUTE, GIVE),
                Store(0, 0x300, 1, 8, 8, Tokens(True, False, True, False)),
                COPY,
                no_op(Queue.COMPUTE, TAKE_BACK),
            ),
        ),
        (
            Race,
            "instruction 5 .LOAD. and instruction 6 .COMPUTE. touch the same elements of WGT",
            [*PRODUCT, Load(Buffer.WGT, 0, 0x20, 1, 1, 1, tokens=GIVE), ADD, DRAIN],
        ),
        (
            Race,
            "instruction 5 .LOAD. and instruction 6 .COMPUTE. touch the same elements of INP",
            [*PRODUCT, Load(Buffer.INP, 0, 0x200, 1, 1, 1, tokens=GIVE), ADD, DRAIN],
        ),
        (
            Race,
            "instruction 7 .STORE. and instruction 8 .COMPUTE. touch the same elements of OUT",
            [
                *PRODUCT,
                ADD,
                no_op(Queue.COMPUTE, GIVE),
                Store(0, 0x300, 1, 1, 1, Tokens(pop_prev=True, push_prev=True)),
                ADD,
                no_op(Queue.COMPUTE, TAKE_BACK),
            ],
        ),
        (WrongTokens, "instruction 0 .Load.: LOAD has no prev", [no_op(Queue.LOAD, TAKE)]),
        (WrongTokens, "instruction 0 .Store.: STORE has no next", [no_op(Queue.STORE, GIVE)]),
        (WrongTokens, "1 tokens of LOAD to COMPUTE are left", [no_op(Queue.LOAD, GIVE)]),
        (Deadlock, "LOAD waits at instruction 0 for COMPUTE", [no_op(Queue.LOAD, TAKE_BACK)]),
        (
            Deadlock,
            "fetch waits at instruction 512 for room in the queue of LOAD, which holds 512",
            [no_op(Queue.LOAD, TAKE_BACK), *MANY, no_op(Queue.COMPUTE, BACK)],
        ),
        (InvalidProgram, "FINISH stands at .0. of 2 instructions", [Finish(), LOADS]),
        (InvalidProgram, "has token flags", [Finish(BACK)]),
        (
            OutOfRange,
            "elements 2044 to 2051 of ACC",
            loading(2044, 0x80),
        ),
        (
            OutOfRange,
            "elements 0 to 2100 of ACC",
            operating(AluOp.MAX, (0, 1), (2, 1), (2100, 0)),
        ),
        (
            OutOfRange,
            "the image has 0x1000 to 0x5000",
            loading(0, 0x140),
        ),
        (OutOfRange, "addresses 0x0 to 0x200", loading(0, 0)),
        (OutOfRange, "y_size is 0", loading(0, 0x80, 0)),
        (OutOfRange, "none may be empty", operating(AluOp.ADD, (3, 3), (1, 1))),
        (OutOfRange, "none may be empty", computation(Gemm((0, 1), (0, 1), reset=True))),
        (
            OutOfRange,
            "shifts by 32 to 32",
            operating(AluOp.SHR, (0, 8), immediate=32),
        ),
        (
            UnwrittenRead,
            "element 8 of UOP",
            operating(AluOp.ADD, (0, 9), immediate=0),
        ),
        (UnwrittenRead, "element 4 of ACC", computation(COPY, count=4)),
        (UnwrittenRead, "element 0 of INP", computation(Gemm((0, 1), (1, 1)))),
        (
            UnwrittenRead,
            "element 2 of OUT, which was not written by ALU or a GEMM that adds before",
            computation(
                COPY,
                Gemm((2, 3), (1, 1), reset=True, tokens=GIVE),
                Store(0, 0x300, 1, 8, 8, Tokens(pop_prev=True, push_prev=True)),
                no_op(Queue.COMPUTE, TAKE_BACK),
            ),
        ),
    ],
)
def test_says_what_is_wrong(error, message, program):
    if not any(isinstance(one, Finish) for one in program):
        program = [*program, Finish()]
    with pytest.raises(error, match=message):
        run(DEFAULT, program, image())


def test_races_may_go_unsearched():
    program = stored(no_op(Queue.COMPUTE, TAKE_BACK), load=Tokens())
    counters = run(DEFAULT, program, image(), find_races=False)
    assert (counters.stored_bytes, counters.alu_uops) == (8 * 16, 8)


def test_counts_what_was_moved():
    data, _, _ = CONV.image()
    counters = run(CONV.config, CONV.program(), data)
    steps, points, tiles = 3 * 4, 8, 4
    assert counters.gemm_uops == steps * points * 4
    assert counters.alu_uops == tiles * points * 4 * 3
    assert counters.loaded_bytes[Buffer.WGT] == steps * 4 * 16
    assert counters.loaded_bytes[Buffer.INP] == steps * points * 4
    assert counters.stored_bytes == 16 * 8 * 4


def test_tells_how_full_a_token_queue_may_get():
    giving = [no_op(Queue.LOAD, GIVE)] * 5
    taking = [no_op(Queue.COMPUTE, TAKE)] * 5
    assert order([*giving, *taking]).fullest[Queue.LOAD, Queue.COMPUTE] == 5
    ping = [no_op(Queue.LOAD, GIVE), no_op(Queue.COMPUTE, Tokens(True, False, True, False)),
            no_op(Queue.LOAD, TAKE_BACK)]  # fmt: skip
    assert order(ping * 5).fullest[Queue.LOAD, Queue.COMPUTE] == 1


@pytest.mark.parametrize(
    "data", [image().astype(np.int8), image().reshape(2, -1), np.frombuffer(bytes(8), np.uint8)]
)
def test_refuses_what_is_no_image(data):
    with pytest.raises(InvalidInput, match="it is one dimension of uint8 that can be changed"):
        run(DEFAULT, computation(COPY), data)
