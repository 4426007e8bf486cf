"""A board as the TOML file that `--target FILE.toml` takes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qcompile.files import write_whole
from qcompile.search.accelerator.design import Design
from qcompile.targets import VtaTarget


def write_board(path: Path, design: Design, board: VtaTarget) -> None:
    """The board with the design's accelerator. The clock is the board's: none is modelled."""
    target, registers = design.on(board), board.registers
    fields = {
        "port_bytes": target.port_bytes,
        "clock_hz": target.clock_hz,
        "part": target.part,
        "host": target.host.name,
        "source": f"co-search from {board.name}, whose clock is taken over: {board.source}",
    }
    tables = {
        "registers": {
            "design": registers.design,
            "address": registers.address,
            "memory_window": registers.memory_window,
        },
        "vta": target.config.to_json(),
    }
    lines = _lines(fields)
    for name, table in tables.items():
        lines += ["", f"[{name}]", *_lines(table)]
    write_whole(path, ("\n".join(lines) + "\n").encode())


def _lines(fields: Mapping[str, Any]) -> list[str]:
    # Strings and numbers are written alike in JSON and TOML.
    return [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items()]
