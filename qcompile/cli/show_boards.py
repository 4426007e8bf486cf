"""What `targets` prints of boards with an accelerator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qcompile.cli.tables import kibibytes, print_facts, print_table

if TYPE_CHECKING:
    from qcompile.targets import VtaTarget


def show_boards(boards: Sequence[VtaTarget]) -> None:
    """All of them, with what their accelerators multiply in a cycle."""
    rows = [
        (
            board.name,
            board.part,
            f"{board.clock_hz / 1e6:.0f} MHz",
            _product(board),
            str(8 * board.port_bytes),
            board.host.name,
        )
        for board in boards
    ]
    columns = ["accelerator", "part", ">clock", "product of a cycle", ">port bits", "host"]
    print_table(columns, rows)


def show_board(board: VtaTarget) -> None:
    """One board's facts."""
    config = board.config
    logs = [config.log_uop_buff_size, config.log_inp_buff_size]
    logs += [config.log_wgt_buff_size, config.log_acc_buff_size]
    print_facts(
        [
            ("target", board.name),
            ("accelerator", f"VTA {config.name} at {board.clock_hz / 1e6:.0f} MHz"),
            ("product of a cycle", _product(board)),
            ("buffers", " / ".join(kibibytes(1 << log) for log in logs) + " of UOP, INP, WGT, ACC"),
            ("DRAM port", f"{8 * board.port_bytes} bits"),
            ("part", board.part),
            ("host", f"{board.host.name} ({board.host.llvm['mcpu']})"),
            ("source", board.source),
        ]
    )


def _product(board: VtaTarget) -> str:
    config = board.config
    shape = f"{config.batch} x {config.block_in} by {config.block_in} x {config.block_out}"
    return f"{shape}, int{config.inp_width} by int{config.wgt_width}"
