"""The symbol table of a little-endian ELF object or library, of 64 or 32 bits."""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

SYMBOL_TABLE, DYNAMIC_SYMBOL_TABLE = 2, 11  # sh_type
LOCAL = 0  # st_info >> 4
HIDDEN = 2  # st_other & 3


@dataclass(frozen=True)
class _Layout:
    """Where the file header tells of sections, and what a symbol looks like."""

    headers: struct.Struct  # offset of the section headers
    headers_at: int
    sizes_at: int  # size and number of them
    header: struct.Struct
    symbol: struct.Struct
    fields: tuple[int, int, int, int]  # name, info, other and section of a symbol
    other_at: int


WIDE = _Layout(
    *(struct.Struct("<Q"), 0x28, 0x3A, struct.Struct("<IIQQQQIIQQ")),
    *(struct.Struct("<IBBHQQ"), (0, 1, 2, 3), 5),
)
NARROW = _Layout(
    *(struct.Struct("<I"), 0x20, 0x2E, struct.Struct("<10I")),
    *(struct.Struct("<IIIBBH"), (0, 3, 4, 5), 13),
)


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
    layout = _layout(content)
    wanted = SYMBOL_TABLE if table == "static" else DYNAMIC_SYMBOL_TABLE
    headers = list(_section_headers(content, layout))
    symbols = []
    for _, kind, _, _, offset, size, link, *_ in headers:
        if kind != wanted:
            continue
        names = headers[link][4]
        for entry in range(offset, offset + size, layout.symbol.size):
            values = layout.symbol.unpack_from(content, entry)
            name, info, other, section = (values[k] for k in layout.fields)
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
    changed, other_at = bytearray(content), _layout(content).other_at
    for symbol in read_symbols(content):
        if symbol.exported:
            changed[symbol.entry + other_at] |= HIDDEN
        if symbol.name in rename:
            name = rename[symbol.name].encode()
            assert len(name) == len(symbol.name)
            changed[symbol.text : symbol.text + len(name)] = name
    return bytes(changed)


def _layout(content: bytes | bytearray) -> _Layout:
    magic, bits, order = content[:4], content[4], content[5]
    assert magic == b"\x7fELF" and bits in (1, 2) and order == 1, "not a little-endian ELF file"
    return WIDE if bits == 2 else NARROW


def _section_headers(content: bytes | bytearray, layout: _Layout) -> Iterator[tuple[int, ...]]:
    (table,) = layout.headers.unpack_from(content, layout.headers_at)
    size, count = struct.unpack_from("<HH", content, layout.sizes_at)
    for k in range(count):
        yield layout.header.unpack_from(content, table + k * size)


def _string(content: bytes | bytearray, start: int) -> str:
    return content[start : content.index(b"\0", start)].decode()
