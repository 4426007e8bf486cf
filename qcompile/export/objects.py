"""Object files of kernels, free of everything that only TVM's runtime could give."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tvm

from qcompile.export.elf import hide_symbols, read_symbols
from qcompile.export.phases import Phase

RUNTIME_SYMBOL = re.compile(r"^_*tvm", re.IGNORECASE)
# Defined by every object of TVM's code generator: conversions of 16-bit floats.
CONVERSIONS = ("__truncsfhf2", "__extendhfsf2")


def write_object(phases: Sequence[Phase], target: tvm.target.Target, path: Path) -> None:
    """Compile the phases of one kernel. Their symbols are hidden in what links the object."""
    mod = tvm.IRModule({phase.symbol: phase.function for phase in phases})
    module: Any = tvm.get_global_func("target.build.llvm")(mod, target)
    module.write_to_file(str(path), "o")
    content = path.read_bytes()
    expected = {phase.symbol for phase in phases}
    for symbol in read_symbols(content):
        assert symbol.local or not RUNTIME_SYMBOL.search(symbol.name), (
            f"kernel {phases[0].symbol} needs {symbol.name} of TVM's runtime"
        )
        if symbol.exported and symbol.name not in CONVERSIONS:
            assert symbol.name in expected, f"kernel {phases[0].symbol} exports {symbol.name}"
    path.write_bytes(hide_symbols(content))
