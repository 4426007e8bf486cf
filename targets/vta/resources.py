"""What a configuration needs of an FPGA, and whether a device has it.

Multipliers, M = BATCH * BLOCK_IN * BLOCK_OUT of them: operands of at most 2 bits are built of LUTs,
wider ones take DSP slices as long as there are some, then LUTs. A product in LUTs takes
(2 ceil((w + a) / 6) - 1) (w + a), its sum (w + a) (2 BLOCK_IN - 1) for each output, both 1.1 times
and 300 once (FINN-R, Blott et al. 2018; 8x8 bits measured higher, 181 instead of 123 LUTs).
Memories: block RAMs as synthesis of the reference RTL maps them, each buffer in banks of the
port's width. Everything else: 18,200 LUTs of the synthesized reference RTL (16 lanes, 64-bit port),
of which 2,500 are GEMM with its products in DSPs; how the rest grows with the lanes is an estimate.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from math import ceil
from pathlib import Path

from qcompile.errors import DoesNotFit, UnknownTarget
from qcompile.targets.vta.config import Buffer, Config
from qcompile.targets.vta.encodable import broken_rules
from qcompile.targets.vta.nearest import nearest, unit_steps

DEVICES = Path(__file__).with_name("devices.toml")

# Width and depth that one block of 36 Kbit takes.
BRAM36_SHAPES = ((72, 512), (36, 1024), (18, 2048), (9, 4096), (4, 8192), (2, 16384), (1, 32768))
BRAM18_PER_BRAM36 = 2
QUEUES, QUEUE_DEPTH, INSTRUCTION_BITS = 4, 512, 128  # fetch's own and one for each module

LUT_OPERAND_BITS = 2  # up to here a product is cheaper in LUTs
PACKED_OPERAND_BITS, PACKED_NARROW_MACS = 4, 4  # four products of 4 bits in a DSP slice (FINN)
LUT_FACTOR, LUT_BASE = 1.1, 300
GEMM_LUT_PER_DSP_MAC = 2_500 / 256
LANES, CONTROL_LUT = 16, 18_200 - 2_500
# An ALU lane: a 32-bit shifter both ways, adder, comparison and their choice. Not measured.
ALU_LUT_PER_LANE = 300

# All of these may become smaller to fit; twelve halvings are enough for any device here.
_FIELDS = (
    "log_uop_buff_size",
    "log_inp_buff_size",
    "log_wgt_buff_size",
    "log_acc_buff_size",
    "log_block",
    "log_batch",
)
FARTHEST = 12


@dataclass(frozen=True)
class Device:
    name: str
    lut: int
    ff: int
    bram18: int
    uram: int
    dsp: int
    macs_per_dsp: int
    packed_macs_per_dsp: int


@dataclass(frozen=True)
class Resources:
    dsp: int
    lut: int
    bram36: int

    @property
    def bram18(self) -> int:
        return BRAM18_PER_BRAM36 * self.bram36

    def lacking(self, device: Device, share: float = 1.0) -> dict[str, tuple[int, int]]:
        """Needed and available of each resource that exceeds its share of the device."""
        pairs = {
            "dsp": (self.dsp, int(share * device.dsp)),
            "lut": (self.lut, int(share * device.lut)),
            "bram18": (self.bram18, int(share * device.bram18)),
        }
        return {name: pair for name, pair in pairs.items() if pair[0] > pair[1]}

    def fits(self, device: Device, share: float = 1.0) -> bool:
        return not self.lacking(device, share)


@cache
def devices() -> dict[str, Device]:
    """By name."""
    table = tomllib.loads(DEVICES.read_text())
    return {name: Device(name, **fields) for name, fields in table.items()}


def device(name: str) -> Device:
    if name not in devices():
        raise UnknownTarget(f"no FPGA named {name!r}; known are {', '.join(sorted(devices()))}")
    return devices()[name]


def resources(
    config: Config, port_bytes: int, on: Device | None = None, packed: bool = False
) -> Resources:
    """What the configuration needs; on a device, products beyond its DSP slices are LUTs.

    packed: two 8-bit products share a DSP slice where the device can (the public designs do not).
    """
    macs = config.batch * config.block_in * config.block_out
    per_dsp = _macs_per_dsp(config, on, packed)
    slices = ceil(macs / per_dsp) if per_dsp else 0
    dsp = min(slices, on.dsp) if on else slices
    in_dsp = min(macs, dsp * per_dsp)
    lut = CONTROL_LUT + ALU_LUT_PER_LANE * (config.batch * config.block_out - LANES)
    lut += ceil(in_dsp * GEMM_LUT_PER_DSP_MAC + _lut_products(config, macs - in_dsp))
    return Resources(dsp, lut, _block_rams(config, port_bytes))


def expect_fits(
    config: Config, port_bytes: int, on: Device, share: float = 1.0, packed: bool = False
) -> None:
    """Raises DoesNotFit with the resource that lacks and the nearest configuration that fits."""
    lacking = resources(config, port_bytes, on, packed).lacking(on, share)
    if not lacking:
        return
    needs = " and ".join(f"{need} of {have} {name}" for name, (need, have) in lacking.items())
    found = nearest_fitting(config, port_bytes, on, share, packed)
    advice = f"the nearest that fits is {found.name}" if found else "no smaller one fits either"
    raise DoesNotFit(
        f"VTA configuration {config.name} of target {config.target!r} needs {needs} on {on.name}; "
        f"{advice}"
    )


def nearest_fitting(
    config: Config, port_bytes: int, on: Device, share: float = 1.0, packed: bool = False
) -> Config | None:
    """The encodable configuration that fits after the fewest halvings."""

    def at(point: tuple[int, ...]) -> Config:
        changes: dict[str, int] = dict(zip(_FIELDS, point, strict=True))
        return Config.from_json({**config.to_json(), **{k.upper(): v for k, v in changes.items()}})

    def accept(point: tuple[int, ...]) -> bool:
        if next(broken_rules(at(point)), None) is not None:
            return False
        return resources(at(point), port_bytes, on, packed).fits(on, share)

    start = tuple(int(getattr(config, name)) for name in _FIELDS)
    found = nearest(start, unit_steps(len(_FIELDS), (-1,)), accept, FARTHEST)
    return at(found) if found else None


def _macs_per_dsp(config: Config, on: Device | None, packed: bool) -> int:
    """0 where products are built of LUTs."""
    narrow, wide = sorted((config.inp_width, config.wgt_width))
    if narrow <= LUT_OPERAND_BITS:
        return 0
    if wide <= PACKED_OPERAND_BITS:
        return PACKED_NARROW_MACS
    if wide > 8 or on is None:
        return 1
    return on.packed_macs_per_dsp if packed else on.macs_per_dsp


def _lut_products(config: Config, macs: int) -> float:
    if not macs:
        return 0
    bits = config.inp_width + config.wgt_width
    product = (2 * ceil(bits / 6) - 1) * bits
    addition = bits * (2 * config.block_in - 1) / config.block_in
    return LUT_BASE + LUT_FACTOR * macs * (product + addition)


def _block_rams(config: Config, port_bytes: int) -> int:
    memories = [
        (config.scalars(buffer) * config.width(buffer), config.depth(buffer)) for buffer in Buffer
    ]
    memories += [(INSTRUCTION_BITS, QUEUE_DEPTH)] * QUEUES
    return sum(_banked(bits, depth, 8 * port_bytes) for bits, depth in memories)


def _banked(bits: int, depth: int, bank_bits: int) -> int:
    """BRAM36 blocks of a memory whose words are split in banks of the port's width."""
    banks, width = ceil(bits / bank_bits), min(bits, bank_bits)
    return banks * min(ceil(width / w) * ceil(depth / d) for w, d in BRAM36_SHAPES)
