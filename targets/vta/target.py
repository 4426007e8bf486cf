"""A board with a VTA accelerator, as its TOML file describes it.

port_bytes   of the accelerator's DRAM port
clock_hz     of the accelerator
part         the FPGA
host         the target of the processor that runs the rest, by name
source       where the facts are from
[vta]        the configuration, as the keys of its JSON form (config.py)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from qcompile.errors import UnknownTarget
from qcompile.targets.fields import expect_clock, expect_names, expect_source
from qcompile.targets.target import Target
from qcompile.targets.vta.config import Config

FIELDS = ("port_bytes", "clock_hz", "part", "host", "source", "vta")
PORTS = (8, 16, 32, 64)  # bytes, of the designs


@dataclass(frozen=True)
class VtaTarget:
    """A VTA accelerator and the processor beside it."""

    name: str
    config: Config
    port_bytes: int
    clock_hz: float
    part: str
    host: Target
    source: str


def vta_target(
    name: str, fields: Mapping[str, Any], load_host: Callable[[str], Target]
) -> VtaTarget:
    """The board that the fields of a TOML file describe.

    Raises UnknownTarget, or what the configuration raises.
    """
    expect_names(fields, FIELDS, "field")
    port_bytes = fields["port_bytes"]
    if type(port_bytes) is not int or port_bytes not in PORTS:
        expected = ", ".join(map(str, PORTS))
        raise UnknownTarget(f"port_bytes = {port_bytes!r}: expected one of {expected}")
    for field in ("part", "host"):
        if not isinstance(fields[field], str) or not fields[field].strip():
            raise UnknownTarget(f"{field} = {fields[field]!r}: expected a name")
    if not isinstance(fields["vta"], dict):
        raise UnknownTarget(f"vta = {fields['vta']!r}: expected a table")
    config = Config.from_json(fields["vta"])
    config.expect_encodable()
    return VtaTarget(
        name=name,
        config=config,
        port_bytes=port_bytes,
        clock_hz=expect_clock(fields),
        part=fields["part"],
        host=load_host(fields["host"]),
        source=expect_source(fields),
    )
