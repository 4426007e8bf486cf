"""Encodings: the vectors of the specification's section 14, and round trips."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcompile.errors import InvalidEncoding
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


CONFIGURATIONS = [
    DEFAULT,
    SMALL_UOPS,
    replace(DEFAULT, log_inp_width=2, log_wgt_width=2, log_inp_buff_size=14, log_wgt_buff_size=17),
    replace(DEFAULT, log_block=5, log_inp_buff_size=15, log_acc_buff_size=17),
    replace(DEFAULT, log_batch=2, log_acc_buff_size=16),
]


def unsigned(bits):
    return st.integers(0, (1 << bits) - 1)


def pair(bits):
    return st.tuples(unsigned(bits), unsigned(bits))


tokens = st.builds(Tokens, *[st.booleans()] * 4)


def instructions(config):
    u, a, i, w = config.uop_bits, config.acc_bits, config.inp_bits, config.wgt_bits
    loops = (st.tuples(unsigned(u), unsigned(u + 1)), pair(14))
    block = (unsigned(16), unsigned(32), *[unsigned(16)] * 3)
    return st.one_of(
        st.builds(
            Load,
            st.sampled_from([b for b in Buffer if b != Buffer.OUT]),
            *block,
            st.tuples(*[unsigned(4)] * 4),
            tokens,
        ),
        st.builds(Store, *block, tokens),
        st.builds(Gemm, *loops, pair(a), pair(i), pair(w), st.booleans(), tokens),
        st.builds(
            Alu,
            st.sampled_from(AluOp),
            *loops,
            pair(a),
            pair(a),
            st.none() | st.integers(-(2**15), 2**15 - 1),
            tokens,
        ),
        st.builds(Finish, tokens),
    )


@pytest.mark.parametrize("config", CONFIGURATIONS)
def test_decodes_what_it_encodes(config):
    config.expect_encodable()

    @settings(max_examples=60, deadline=None)
    @given(st.lists(instructions(config), max_size=8))
    def check(program):
        assert decode(config, encode(config, program)) == program

    check()


@pytest.mark.parametrize("config", CONFIGURATIONS)
def test_decodes_the_micro_ops_it_encodes(config):
    @settings(max_examples=40, deadline=None)
    @given(
        st.lists(
            st.builds(
                Uop,
                unsigned(config.acc_bits),
                unsigned(config.src_bits),
                unsigned(config.wgt_bits),
            )
        )
    )
    def check(uops):
        assert decode_uops(config, encode_uops(config, uops)) == uops

    check()


@pytest.mark.parametrize(
    ("instruction", "message"),
    [
        (replace(GEMM, dst=(2048, 1)), "instruction 1 .Gemm.: dst_factor_out is 2048; its 11 bits"),
        (replace(GEMM, extents=(14, 1 << 14)), "iter_in is 16384; its 14 bits hold 0 to 16383"),
        (replace(MAX, immediate=1 << 15), "imm is 32768; its 16 bits hold -32768 to 32767"),
        (Load(Buffer.INP, -1, 0, 1, 1, 1), "sram_base is -1"),
        (Load(Buffer.INP, 0, 0, 1, 1, 1, (0, 16, 0, 0)), "y_pad_1 is 16; its 4 bits hold 0 to 15"),
    ],
)
def test_refuses_what_does_not_fit_its_field(instruction, message):
    with pytest.raises(InvalidEncoding, match=message):
        encode(DEFAULT, [Finish(), instruction])


def test_refuses_micro_ops_that_do_not_fit():
    with pytest.raises(InvalidEncoding, match="micro-op 1: wgt is 1024; its 10 bits"):
        encode_uops(DEFAULT, [Uop(0, 0, 0), Uop(0, 0, 1024)])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("03" + "00" * 14, "15 bytes are no whole instructions"),
        ("07" + "00" * 15, "instruction 0: opcode 7 is none of 0 to 4"),
        ("0380" + "00" * 14, "instruction 0 .Finish.: bits outside its fields are set"),
        ("8002" + "00" * 14, "memory type 5; 0 UOP, 1 WGT, 2 INP and 3 ACC are known"),
        ("01" + "00" * 15, "instruction 0 .Store.: memory type 0"),
        ("84" + "00" * 15, "instruction 0 .Alu.: reset 1"),
    ],
)
def test_refuses_bytes_that_are_no_instruction(data, message):
    with pytest.raises(InvalidEncoding, match=message):
        decode(DEFAULT, bytes.fromhex(data))
