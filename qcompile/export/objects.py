"""Object files of kernels, free of everything that only TVM's runtime could give."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tvm

from qcompile.export.elf import hide_symbols, read_symbols
from qcompile.export.phases import Phase

RUNTIME_SYMBOL = re.compile(r"^_*tvm", re.IGNORECASE)
# Conversions of 16-bit floats that TVM puts into every object. Compilers know functions of these
# names with other calling conventions: a program must not take ours for them.
CONVERSIONS = {"__truncsfhf2": "qc_trunc_f16", "__extendhfsf2": "qc_extend_f16"}


def write_object(phases: Sequence[Phase], target: tvm.target.Target, path: Path) -> None:
    """Compile the phases of one kernel. Their symbols are hidden in what links the object."""
    mod = tvm.IRModule({phase.symbol: phase.function for phase in phases})
    module: Any = tvm.get_global_func("target.build.llvm")(mod, target)
    module.write_to_file(str(path), "o")
    content = path.read_bytes()
    expected = {phase.symbol for phase in phases}
    for symbol in read_symbols(content):
        if symbol.local or symbol.name in expected or symbol.name in CONVERSIONS:
            continue
        assert not symbol.defined and not RUNTIME_SYMBOL.search(symbol.name), (
            f"kernel {phases[0].symbol}: {symbol.name} is of TVM's runtime or unexpected"
        )
    path.write_bytes(hide_symbols(content, CONVERSIONS))
