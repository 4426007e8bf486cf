"""What a library takes from the system and gives to programs."""

from pathlib import Path

from qcompile.export.elf import read_symbols

# Beside libc, libm and libpthread's functions: what the linker itself provides.
FROM_LINKER = ("_DYNAMIC", "_GLOBAL_OFFSET_TABLE_", "__dso_handle", "_end", "_edata", "__bss_start")


def check_library(path: Path, prefix: str) -> None:
    """Assert that the library exports names with `prefix` only, and that none is TVM's."""
    for symbol in read_symbols(path.read_bytes(), "dynamic"):
        assert "tvm" not in symbol.name.lower(), f"{path.name} needs {symbol.name}"
        if symbol.exported:
            assert symbol.name.startswith(prefix), f"{path.name} exports {symbol.name}"
