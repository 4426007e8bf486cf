"""The cycle simulator against the cycles of the reference RTL."""

import pytest
from vta_conv import Conv
from vta_shared import CYCLES, REASON, program

from qcompile.errors import Deadlock, WrongTokens
from qcompile.targets.vta.config import DEFAULT, Buffer
from qcompile.targets.vta.cycles import Cause, Unit, simulate
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

# What the project promises of its cycle model; the worst program is off by 0.5 %.
TOLERANCE = 0.05


@pytest.mark.shared
@pytest.mark.skipif(not CYCLES, reason=REASON)
def test_agrees_with_the_reference_design():
    for name, cycles in CYCLES.items():
        config, instructions = program(name)
        found = simulate(config, 8, instructions).cycles
        assert abs(found / cycles - 1) < TOLERANCE, name


def alone(instruction, port_bytes):
    """Cycles of one instruction."""
    (span, _) = simulate(DEFAULT, port_bytes, [instruction, Finish()]).spans
    return span.end - span.start


LOOPS = ((0, 3), (5, 7))
TABLE = [  # the measured table: 64-bit port, 128-bit port
    (Gemm(*LOOPS), 105 + 9, 105 + 8),
    (Gemm(*LOOPS, reset=True), 105 + 9, 105 + 8),
    (Alu(AluOp.ADD, *LOOPS, immediate=3), 105 + 9, 105 + 8),
    (Alu(AluOp.ADD, *LOOPS), 210 + 9, 210 + 8),
    (Load(Buffer.INP, 0, 0x100, 4, 8, 16), 25 + 64, 24 + 32),
    (Load(Buffer.WGT, 0, 0x10, 1, 9, 9), 25 + 288, 24 + 144),
    (Load(Buffer.UOP, 0, 0x400, 1, 9, 9), 25 + 5, 24 + 3),
    (Load(Buffer.INP, 0, 0x100, 4, 8, 16, (1, 1, 1, 1)), 25 + 64 + 8, 24 + 32 + 8),
    (Store(0, 0x100, 4, 8, 16), 4 * (8 * 3 + 3) + 3, 4 * (8 + 4)),
    # Crosses 2 KiB: one burst more, which the wider port's longer bursts do not need.
    (Store(0, 0x17C, 1, 8, 8), 8 * 3 + 2 * 3 + 3, 8 + 4),
    (no_op(Queue.LOAD, Tokens()), 4, 3),
]


@pytest.mark.parametrize(("instruction", "narrow", "wide"), TABLE)
def test_single_instructions_take_what_was_measured(instruction, narrow, wide):
    assert (alone(instruction, 8), alone(instruction, 16)) == (narrow, wide)


def test_a_program_starts_and_finishes():
    assert simulate(DEFAULT, 8, [Finish()]).cycles == 29
    assert simulate(DEFAULT, 16, [Finish()]).cycles == 30


GIVE, TAKE = Tokens(push_next=True), Tokens(pop_prev=True)


def test_tells_who_waits_for_whom():
    load = Load(Buffer.INP, 0, 0x100, 1, 8, 8, tokens=GIVE)
    timeline = simulate(DEFAULT, 8, [load, Gemm(*LOOPS, tokens=TAKE), Finish()])

    assert [(s.start, s.end) for s in timeline.spans] == [(0, 41), (41, 155), (155, 155)]
    assert timeline.waiting[Queue.COMPUTE] == {**dict.fromkeys(Cause, 0), Cause.LOAD: 41}
    assert timeline.busy[Unit.LOAD] == 41
    assert timeline.busy[Unit.GEMM] == 114
    assert timeline.part(range(1, 2)).cycles == 114


def test_busy_and_waiting_fill_the_time_of_each_module():
    conv = Conv(14, 14, 64, 64, rows=7)
    program = conv.program()
    timeline = simulate(DEFAULT, 8, program)
    for queue in Queue:
        spans = [span for span in timeline.spans if span.queue == queue]
        worked = sum(span.end - span.start - span.port for span in spans)
        waited = sum(timeline.waiting[queue].values())
        assert worked + waited == max(span.end for span in spans)


def test_loads_of_two_modules_share_the_port():
    first = Load(Buffer.WGT, 0, 0x10, 4, 9, 18)
    second = Load(Buffer.ACC, 0, 0x80, 1, 4, 4)
    pause = [no_op(Queue.COMPUTE, Tokens())] * 50
    timeline = simulate(DEFAULT, 8, [first, *pause, second, Finish()])
    # By then all of the weights are asked for, so the sums come behind them.
    assert timeline.spans[0].end == 25 + 1152
    assert timeline.spans[-2].end == 25 + 1152 + 32
    assert timeline.waiting[Queue.COMPUTE][Cause.PORT] == 1152 - 200

    together = simulate(DEFAULT, 8, [first, second, Finish()])
    # Asked for at the same time, the first burst of weights comes before the sums.
    assert together.spans[0].end == 25 + 1152 + 32
    assert together.spans[1].end < 25 + 1152


def test_fetch_waits_for_room_in_a_queue():
    head = Load(Buffer.WGT, 0, 0x10, 1, 512, 512)
    fill = [no_op(Queue.LOAD, Tokens())] * 512
    behind = Gemm((0, 1), (1, 1))
    timeline = simulate(DEFAULT, 8, [head, *fill, behind, Finish()])
    assert timeline.spans[-2].start == 0
    timeline = simulate(DEFAULT, 8, [head, *fill, fill[0], behind, Finish()])
    assert timeline.spans[-2].start == timeline.spans[0].end
    assert timeline.waiting[Queue.COMPUTE][Cause.FETCH] == timeline.spans[0].end


def test_what_never_ends_is_a_deadlock():
    with pytest.raises(Deadlock, match=r"instructions \[0\] wait for ever"):
        simulate(DEFAULT, 8, [Gemm(*LOOPS, tokens=TAKE), Finish()])


def test_refuses_illegal_flags():
    with pytest.raises(WrongTokens, match="LOAD has no previous module"):
        simulate(DEFAULT, 8, [no_op(Queue.LOAD, TAKE), Finish()])
