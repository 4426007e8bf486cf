"""The rules of the portable subset of the VTA instruction set (its section 12), in words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

# Queues hold 512, but what the deadlock needs beside them depends on the implementation.
SAFE_COMMANDS = 500
# The smallest token queue that is known, of the HLS C model.
TOKENS_IN_FLIGHT = 8
UOP_ALIGNMENT = 8
# The same dst may come again after this many iterations: behind the pipelines of the designs.
GEMM_DISTANCE = 3
ALU_DISTANCE = 4


class Rule(StrEnum):
    """The rules, in words."""

    ENCODABLE = "the configuration is encodable"
    FLAGS = "token flags only for neighbours that exist"
    TOKENS = "every token given is taken"
    FEW_TOKENS = f"at most {TOKENS_IN_FLIGHT} tokens of a kind wait"
    DEADLOCK = f"the program ends though queues hold {SAFE_COMMANDS} instructions"
    FINISH = "FINISH stands last, once, without flags"
    FINISHED = "all loads and stores happen before FINISH"
    MUL = "no MUL"
    SHIFT = "shift immediates lie within the signed range of log2 ACC_WIDTH bits"
    WGT_PADS = "no pads on WGT"
    UOP_ROWS = "micro-ops are loaded as one row without pads"
    UOP_ALIGNED = f"micro-op blocks begin at multiples of {UOP_ALIGNMENT} bytes"
    EMPTY = "loop counts, micro-op counts and rows are 1 or more"
    INSIDE = "all indices are inside the buffers and the image"
    WRITTEN = "what is read was written by the program; OUT by ALU or a GEMM that adds"
    ORDERED = "tokens order modules that touch the same elements"
    SAME_SOURCE = "immediate ALU operations read src where they write dst"
    GEMM_DISTANCE = f"{GEMM_DISTANCE} micro-ops or more between GEMM sums of one dst"
    ALU_DISTANCE = f"{ALU_DISTANCE} iterations or more before ALU touches a dst again"


@dataclass(frozen=True)
class Violation:
    """`place`: the instruction's number, or None for the whole program."""

    rule: Rule
    place: int | None
    found: str

    def __str__(self) -> str:
        where = "program" if self.place is None else f"instruction {self.place}"
        return f"{where}: {self.rule}; {self.found}"
