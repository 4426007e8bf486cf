"""Encodings: the vectors of the specification's section 14, and round trips."""

from dataclasses import replace

import pytest

from qcompile.targets.vta.config import DEFAULT, Buffer
from qcompile.targets.vta.encoding import decode, decode_uops, encode, encode_uops
from qcompile.targets.vta.instructions import (
    Alu,
    AluOp,
    Finish,
    Gemm,
    Load,
    Queue,
    Store,
    Tokens,
    Uop,
    no_op,
)

SMALL_UOPS = replace(DEFAULT, log_uop_buff_size=10)
GEMM = Gemm(
    (1, 10), (14, 7), (14, 1), (16, 2), (3, 9), tokens=Tokens(pop_prev=True, push_prev=True)
)
SAME = ((9, 10), (1, 196), (0, 1), (0, 1))
MAX = Alu(AluOp.MAX, *SAME, immediate=-128, tokens=Tokens(push_next=True))
VECTORS = [
    (
        DEFAULT,
        Load(Buffer.INP, 5, 0x1234, 4, 6, 16, (1, 2, 3, 0), Tokens(pop_next=True, push_next=True)),
        "501500d0480000000400060010002103",
    ),
    (DEFAULT, Load(Buffer.UOP, 0, 0x400, 1, 9, 9), "00000000100000000100090009000000"),
    (
        DEFAULT,
        Store(7, 0x2000, 3, 2, 10, Tokens(pop_prev=True, push_prev=True)),
        "291e000080000000030002000a000000",
    ),
    (DEFAULT, GEMM, "2a01400170000e000e08000404304002"),
    (
        DEFAULT,
        Gemm((0, 1), (1, 196), (0, 1), reset=True),
        "82002000080088010008000000000000",
    ),
    (DEFAULT, Alu(AluOp.SHR, *SAME, immediate=8), "04094001080088010008000002b00800"),
    (DEFAULT, MAX, "440940010800880100080000029080ff"),
    (
        DEFAULT,
        Alu(AluOp.ADD, (2, 3), (2, 5), (32, 1), (16, 4)),
        "0402600010000a002008000408200000",
    ),
    (
        DEFAULT,
        no_op(Queue.COMPUTE, Tokens(pop_prev=True, pop_next=True)),
        "18000000000000000000000000000000",
    ),
    (DEFAULT, Finish(), "03000000000000000000000000000000"),
    (SMALL_UOPS, GEMM, "2a010a1c8003c0010180800006480000"),
    (SMALL_UOPS, MAX, "44090a02006200000100400012f01f00"),
]


@pytest.mark.parametrize(("config", "instruction", "expected"), VECTORS)
def test_encodes_the_vectors_of_the_specification(config, instruction, expected):
    assert encode(config, [instruction]).hex() == expected
    assert decode(config, bytes.fromhex(expected)) == [instruction]


def test_encodes_the_micro_op_of_the_specification():
    assert encode_uops(DEFAULT, [Uop(3, 100, 513)]).hex() == "03204380"
    assert decode_uops(DEFAULT, bytes.fromhex("03204380")) == [Uop(3, 100, 513)]
