"""The symbol table of a 64-bit little-endian ELF object or library."""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

SYMBOL_TABLE, DYNAMIC_SYMBOL_TABLE = 2, 11  # sh_type
LOCAL = 0  # st_info >> 4
HIDDEN = 2  # st_other & 3
SECTION_HEADER = struct.Struct("<IIQQQQIIQQ")
SYMBOL = struct.Struct("<IBBHQQ")


@dataclass(frozen=True)
class Symbol:
    name: str
    defined: bool
    local: bool
    hidden: bool
    entry: int
    """Where its entry is in the file, in bytes."""
    text: int
    """Where its name is in the file, in bytes."""

    @property
    def exported(self) -> bool:
        return self.defined and not self.local and not self.hidden


def read_symbols(
    content: bytes | bytearray, table: Literal["static", "dynamic"] = "static"
) -> list[Symbol]:
    """The named symbols of the file's static (or dynamic) table."""
    assert content[:6] == b"\x7fELF\x02\x01", "not a 64-bit little-endian ELF file"
    wanted = SYMBOL_TABLE if table == "static" else DYNAMIC_SYMBOL_TABLE
    headers = list(_section_headers(content))
    symbols = []
    for _, kind, _, _, offset, size, link, *_ in headers:
        if kind != wanted:
            continue
        names = headers[link][4]
        for entry in range(offset, offset + size, SYMBOL.size):
            name, info, other, section, _, _ = SYMBOL.unpack_from(content, entry)
            symbol = Symbol(
                name=_string(content, names + name),
                defined=section != 0,
                local=info >> 4 == LOCAL,
                hidden=other & 3 == HIDDEN,
                entry=entry,
                text=names + name,
            )
            symbols += [symbol] if symbol.name else []
    return symbols


def hide_symbols(content: bytes, rename: Mapping[str, str]) -> bytes:
    """The object with hidden visibility for all that it defines, some of it under a new name.

    A new name is as long as the old one: it takes its place in the file.
    """
    changed = bytearray(content)
    for symbol in read_symbols(content):
        if symbol.exported:
            changed[symbol.entry + 5] |= HIDDEN
        if symbol.name in rename:
            name = rename[symbol.name].encode()
            assert len(name) == len(symbol.name)
            changed[symbol.text : symbol.text + len(name)] = name
    return bytes(changed)


def _section_headers(content: bytes | bytearray) -> Iterator[tuple[int, ...]]:
    (table,) = struct.unpack_from("<Q", content, 0x28)
    size, count = struct.unpack_from("<HH", content, 0x3A)
    for k in range(count):
        yield SECTION_HEADER.unpack_from(content, table + k * size)


def _string(content: bytes | bytearray, start: int) -> str:
    return content[start : content.index(b"\0", start)].decode()
