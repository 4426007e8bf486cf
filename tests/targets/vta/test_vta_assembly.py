"""The disassembler: one readable line an instruction."""

from test_vta_encoding import VECTORS

from qcompile.targets.vta.assembly import disassemble
from qcompile.targets.vta.config import DEFAULT
from qcompile.targets.vta.instructions import Queue, Tokens, no_op

EXPECTED = """\
    0 LOAD     LOAD   inp[5..67] <- dram 0x12340 4x6 stride 16 pads 1,2,3,0  | take compute, give compute
    1 COMPUTE  LOAD   uop[0..8] <- dram 0x1000 1x9
    2 STORE    STORE  out[7..12] -> dram 0x20000 3x2 stride 10  | take compute, give compute
    3 COMPUTE  GEMM   uops 1..9 loops 14x7 acc (14,1) inp (16,2) wgt (3,9)  | take load, give load
    4 COMPUTE  RESET  uops 0..0 loops 1x196 acc (0,1)
    5 COMPUTE  SHR    uops 9..9 loops 1x196 acc (0,1) with 8
    6 COMPUTE  MAX    uops 9..9 loops 1x196 acc (0,1) with -128  | give store
    7 COMPUTE  ADD    uops 2..2 loops 2x5 acc (32,1) with acc (16,4)
    8 COMPUTE  NOP  | take load, take store
    9 COMPUTE  FINISH
   10 LOAD     NOP  | take prev
"""  # noqa: E501


def test_writes_the_vectors_of_the_specification():
    instructions = [one for config, one, _ in VECTORS if config is DEFAULT]
    illegal = no_op(Queue.LOAD, Tokens(pop_prev=True))
    assert disassemble(DEFAULT, [*instructions, illegal]) == EXPECTED
