"""ALU and GEMM where iterations touch what others wrote, against the plain interpreter."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vta_generator import AREAS, BASE, SPAN, small
from vta_interpreter import Interpreter

from qcompile.targets.vta.config import Buffer
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
)

CONFIG = small()
COUNT = 12  # elements of each buffer that the programs use


def at(buffer):
    return AREAS[buffer] // CONFIG.element_bytes(buffer)


def compared(uops, body, accumulators=None):
    """Runs a program on both, from the same random image, and compares all that it stores."""
    data = np.random.default_rng(1).integers(0, 256, len(AREAS) * SPAN, dtype=np.uint8)
    words = np.frombuffer(encode_uops(CONFIG, uops), np.uint8)
    data[AREAS[Buffer.UOP] - BASE :][: len(words)] = words
    if accumulators is not None:
        raw = accumulators.astype("<i4").tobytes()
        data[AREAS[Buffer.ACC] - BASE :][: len(raw)] = np.frombuffer(raw, np.uint8)
    every = Alu(AluOp.ADD, (len(uops) - 1, len(uops)), (1, COUNT), (0, 1), (0, 1), 0)
    program = [
        Load(Buffer.INP, 0, at(Buffer.INP), 1, COUNT, COUNT),
        Load(Buffer.WGT, 0, at(Buffer.WGT), 1, COUNT, COUNT, tokens=Tokens(push_next=True)),
        Load(Buffer.UOP, 0, at(Buffer.UOP), 1, len(uops), len(uops)),
        Load(Buffer.ACC, 0, at(Buffer.ACC), 1, COUNT, COUNT),
        no_op(Queue.COMPUTE, Tokens(pop_prev=True)),
        *body,
        every,
        no_op(Queue.COMPUTE, Tokens(push_next=True)),
        Store(0, at(Buffer.OUT), 1, COUNT, COUNT, Tokens(pop_prev=True, push_prev=True)),
        no_op(Queue.COMPUTE, Tokens(pop_next=True)),
        Finish(),
    ]
    expected = data.copy()
    Interpreter(CONFIG, expected).run(program, lambda ready: ready[0])
    run(CONFIG, program, data)
    np.testing.assert_array_equal(data, expected)


index = st.integers(0, 5)
factor = st.tuples(st.integers(0, 2), st.integers(0, 1))
table = st.lists(st.tuples(index, index, index), min_size=1, max_size=6)
extents = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=60, deadline=None)
@given(table, extents, factor, factor, factor)
def test_gemm_adds_up_whatever_repeats(uops, loops, dst, src, wgt):
    body = [Gemm((0, len(uops)), loops, dst, src, wgt)]
    compared([*uops, (0, 0, 0)], body)


@settings(max_examples=60, deadline=None)
@given(
    table,
    extents,
    factor,
    factor,
    st.sampled_from([op for op in AluOp if op != AluOp.SHR]),
    st.none() | st.integers(-300, 300),
)
def test_alu_sees_what_earlier_iterations_wrote(uops, loops, dst, src, op, immediate):
    body = [Alu(op, (0, len(uops)), loops, dst, src, immediate)]
    compared([*uops, (0, 0, 0)], body)


@pytest.mark.parametrize("shift", [-31, -16, -1, 0, 1, 15, 31])
def test_shifts_both_ways(shift):
    body = [Alu(AluOp.SHR, (0, 1), (1, COUNT), (0, 1), (0, 1), shift)]
    compared([(0, 0, 0)], body)


def test_shifts_by_the_values_of_another_element():
    rng = np.random.default_rng(2)
    values = rng.integers(-(2**31), 2**31, (COUNT, 4))
    values[COUNT // 2 :] = rng.integers(0, 16, values[COUNT // 2 :].shape)
    body = [Alu(AluOp.SHR, (0, 1), (1, COUNT // 2), (0, 1), (0, 1))]
    compared([(0, COUNT // 2, 0), (0, 0, 0)], body, values)


def test_sums_and_products_wrap():
    extreme = np.array([2**31 - 1, -(2**31), 2**31 - 1, -(2**31)] * COUNT)
    adding = Alu(AluOp.ADD, (0, 1), (1, COUNT), (0, 1), (0, 1), 2**15 - 1)
    compared([(0, 0, 0)], [adding, Alu(AluOp.MUL, (0, 1), (1, COUNT), (0, 1), (0, 1))], extreme)
    compared([(0, 0, 0)], [Gemm((0, 1), (1, COUNT), (0, 1), (0, 1), (0, 1))], extreme)
