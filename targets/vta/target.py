"""A board with a VTA accelerator, as its TOML file describes it.

port_bytes   of the accelerator's DRAM port
clock_hz     of the accelerator
part         the FPGA
host         the target of the processor that runs the rest, by name
source       where the facts are from
[registers]  design, "hls" (a block for each module) or "rtl" (one block); address: physical;
             memory_window: where the accelerator sees the physical address 0
[vta]        the configuration, as the keys of its JSON form (config.py)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from qcompile.errors import UnknownTarget
from qcompile.targets.fields import expect_clock, expect_names, expect_source
from qcompile.targets.target import Target
from qcompile.targets.vta.config import Config
from qcompile.targets.vta.resources import device, devices, expect_fits

if TYPE_CHECKING:
    import tvm

FIELDS = ("port_bytes", "clock_hz", "part", "host", "source", "registers", "vta")
REGISTERS = ("design", "address", "memory_window")
DESIGNS = ("hls", "rtl")
PAGE = 4096  # registers are mapped in whole pages
PORTS = (8, 16, 32, 64)  # bytes, of the designs


@dataclass(frozen=True)
class Registers:
    """Which registers start the accelerator, where they are, and where it sees memory."""

    design: Literal["hls", "rtl"]
    address: int
    memory_window: int


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
    registers: Registers

    @property
    def macs_per_s(self) -> float:
        """Multiplications that the GEMM unit does at the most: a block for each cycle."""
        config = self.config
        return config.batch * config.block_in * config.block_out * self.clock_hz

    def tvm_target(self) -> tvm.target.Target:
        """The processor's: TE programs of VTA's layers are built for it, as a reference."""
        return self.host.tvm_target()


def vta_target(
    name: str, fields: Mapping[str, Any], load_host: Callable[[str], Target]
) -> VtaTarget:
    """The board that the fields of a TOML file describe.

    Raises UnknownTarget, NotEncodable, or DoesNotFit where the part is too small.
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
    if fields["part"] in devices():  # of others nothing is known
        expect_fits(config, port_bytes, device(fields["part"]))
    return VtaTarget(
        name=name,
        config=config,
        port_bytes=port_bytes,
        clock_hz=expect_clock(fields),
        part=fields["part"],
        host=load_host(fields["host"]),
        source=expect_source(fields),
        registers=_registers(fields["registers"]),
    )


def _registers(fields: Any) -> Registers:
    if not isinstance(fields, dict):
        raise UnknownTarget(f"registers = {fields!r}: expected a table")
    expect_names(fields, REGISTERS, "field of registers")
    if fields["design"] not in DESIGNS:
        raise UnknownTarget(f"design = {fields['design']!r}: expected {' or '.join(DESIGNS)}")
    for field in ("address", "memory_window"):
        value = fields[field]
        if type(value) is not int or not 0 <= value < 2**32 or value % PAGE:
            raise UnknownTarget(f"{field} = {value!r}: expected a multiple of {PAGE} below 2^32")
    return Registers(fields["design"], fields["address"], fields["memory_window"])
