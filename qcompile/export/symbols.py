"""What a library takes from the system and gives to programs."""

from pathlib import Path

from qcompile.export.elf import read_symbols


def check_library(path: Path, prefix: str) -> None:
    """Assert that the library exports only names with `prefix` and needs nothing of TVM."""
    for symbol in read_symbols(path.read_bytes(), "dynamic"):
        if symbol.defined:
            assert symbol.name.startswith(prefix), f"{path.name} exports {symbol.name}"
        else:
            assert "tvm" not in symbol.name.lower(), f"{path.name} needs {symbol.name}"
