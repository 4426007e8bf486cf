"""Clock cycles of one instruction on the reference RTL with ideal memory, by the port's width.

The constants of `NARROW` and `WIDE` are those measured in cycle simulation of the public Chisel
design (64-bit and 128-bit memory port): a fixed cost for each kind of instruction, one cycle for
each micro-op of GEMM and immediate ALU, two with two operands, one for each beat of a LOAD. How a
STORE splits into bursts, and that padding is written while the first data are on their way, is
read from that design (TensorStoreNarrowVME, ZeroPadding).
"""

from __future__ import annotations

from dataclasses import dataclass

from qcompile.targets.vta.config import Buffer, Config
from qcompile.targets.vta.instructions import Alu, Finish, Gemm, Instruction, Load, Store

BURST_BEATS = 256
NARROW_PORT_BYTES = 8


@dataclass(frozen=True)
class Costs:
    """Cycles. `free_pads`: pad elements written before the first data of a LOAD arrive."""

    gemm: int
    alu: int
    load: int
    no_op: int
    store: int
    store_burst: int
    store_element: int  # beside one for each beat
    free_pads: int
    program: int  # from launch to the first instruction, and from FINISH to its flag


NARROW = Costs(
    gemm=9, alu=9, load=25, no_op=4, store=3, store_burst=3, store_element=1, free_pads=20,
    program=29,
)  # fmt: skip
WIDE = Costs(
    gemm=8, alu=8, load=24, no_op=3, store=0, store_burst=4, store_element=0, free_pads=20,
    program=30,
)  # fmt: skip


def costs_of(port_bytes: int) -> Costs:
    return NARROW if port_bytes <= NARROW_PORT_BYTES else WIDE


def beats(config: Config, one: Load, port_bytes: int) -> int:
    """Words of the port that a LOAD reads; each row is its own burst."""
    return one.y_size * row_beats(config, one, port_bytes)


def row_beats(config: Config, one: Load, port_bytes: int) -> int:
    return -(-one.x_size * config.element_bytes(one.memory) // port_bytes)


def late_pads(one: Load, costs: Costs) -> int:
    """Cycles in which a LOAD writes padding after its data."""
    padded = one.rows * one.columns - one.y_size * one.x_size
    return max(0, padded - costs.free_pads)


def cycles_of(config: Config, one: Instruction, port_bytes: int) -> int:
    """Cycles of an instruction that has the port for itself."""
    costs = costs_of(port_bytes)
    match one:
        case Gemm():
            return iterations(one) + costs.gemm
        case Alu():
            return iterations(one) * (2 if one.immediate is None else 1) + costs.alu
        case Finish():
            return 0
        case Load(x_size=0) | Store(x_size=0):
            return costs.no_op
        case Load():
            return costs.load + beats(config, one, port_bytes) + late_pads(one, costs)
        case Store():
            return _store_cycles(config, one, port_bytes, costs)


def iterations(one: Gemm | Alu) -> int:
    return (one.uops[1] - one.uops[0]) * one.extents[0] * one.extents[1]


def _store_cycles(config: Config, one: Store, port_bytes: int, costs: Costs) -> int:
    """Rows are bursts, split where they cross a multiple of the longest burst's bytes."""
    size = config.element_bytes(Buffer.OUT)
    page = BURST_BEATS * port_bytes
    bursts = 0
    for y in range(one.y_size):
        begin = (one.dram_base + y * one.x_stride) * size
        bursts += (begin + one.x_size * size - 1) // page - begin // page + 1
    element = -(-size // port_bytes) + costs.store_element
    return one.y_size * one.x_size * element + bursts * costs.store_burst + costs.store
