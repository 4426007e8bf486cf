"""Which configurations can be encoded, and the nearest one that can.

The rules are section 2 of the VTA instruction set. Among encodable configurations the nearest
changes the logarithms least in sum; of equals, the one with the smaller buffers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from qcompile.errors import NotEncodable
from qcompile.targets.vta.config import Buffer, Config
from qcompile.targets.vta.fields import layout
from qcompile.targets.vta.instructions import Alu, Gemm
from qcompile.targets.vta.nearest import nearest, unit_steps

UOP_WORD_BITS = 32
MAX_DEPTH_BITS = 16  # the on-chip base address of LOAD and STORE
MAX_UOP_BITS = 13
FARTHEST = 4 * MAX_DEPTH_BITS

# What the widths and the shape of an element may be: scalars of 1 to 16 bits (operands) and 8 to
# 32 bits (sums); a block no larger than 256, a batch no larger than 16.
_SCALARS = {
    "log_inp_width": (0, 4),
    "log_wgt_width": (0, 4),
    "log_acc_width": (3, 5),
    "log_batch": (0, 4),
    "log_block": (0, 8),
}
_BUFFERS = ("log_uop_buff_size", "log_inp_buff_size", "log_wgt_buff_size", "log_acc_buff_size")
_ELEMENT_BUFFERS = (Buffer.UOP, Buffer.INP, Buffer.WGT, Buffer.ACC)


class Broken(NamedTuple):
    """A rule that a configuration breaks, and the numbers that break it."""

    rule: str
    found: str


def broken_rules(config: Config) -> Iterator[Broken]:
    """The rules that the configuration breaks, first the ones that others build on."""
    for name, (low, high) in _SCALARS.items():
        value = getattr(config, name)
        if not low <= value <= high:
            yield Broken(f"{name.upper()} lies within {low} to {high}", f"it is {value}")
            return
    if config.log_acc_width < config.log_inp_width:
        yield Broken("ACC scalars are at least as wide as OUT scalars", f"{config.acc_width} bits")
    for buffer in (Buffer.INP, Buffer.WGT):
        bits = config.scalars(buffer) * config.width(buffer)
        if bits % 8:
            yield Broken("elements are whole bytes", f"{buffer.name} elements have {bits} bits")
    for bits, buffer in zip(_depths(config), _ELEMENT_BUFFERS, strict=True):
        if not 0 <= bits <= MAX_DEPTH_BITS:
            rule = f"depths are 1 to {1 << MAX_DEPTH_BITS} elements"
            yield Broken(rule, f"{buffer.name} has 2^{bits}")
            return
    yield from _broken_packing(config)


def _depths(config: Config) -> tuple[int, int, int, int]:
    return config.uop_bits, config.inp_bits, config.wgt_bits, config.acc_bits


def _broken_packing(config: Config) -> Iterator[Broken]:
    a, s, w = config.acc_bits, config.src_bits, config.wgt_bits
    if a + s + w > UOP_WORD_BITS:
        found = f"A={a}, S={s}, W={w} make {a + s + w}"
        yield Broken("A + S + W <= 32, the bits of a micro-op", found)
    if config.uop_bits > MAX_UOP_BITS:
        yield Broken(f"U <= {MAX_UOP_BITS}", f"U={config.uop_bits}")
    for kind in (Gemm, Alu):
        over = [field.name for field in layout(config, kind) if field.word > 1]
        if over:
            rule = f"the fields of {kind.__name__} fit two 64-bit words"
            yield Broken(rule, f"{over[0]} is beyond")
    if config.inp_bits < a:
        found = f"I={config.inp_bits}, A={a}"
        yield Broken("I >= A, or implementations read micro-ops differently", found)


def expect_encodable(config: Config) -> None:
    """Raises NotEncodable with the broken rule and the nearest encodable configuration."""
    broken = next(broken_rules(config), None)
    if broken is None:
        return
    nearest = nearest_encodable(config)
    changes = ", ".join(
        f"{key} {value} instead of {config.to_json()[key]}"
        for key, value in nearest.to_json().items()
        if value != config.to_json()[key]
    )
    raise NotEncodable(
        f"VTA configuration of target {config.target!r}: the rule '{broken.rule}' is broken "
        f"({broken.found}); the nearest that works has {changes}"
    )


def nearest_encodable(config: Config) -> Config:
    """The encodable configuration that changes least; itself where nothing is broken."""
    start = _with_usable_elements(config)
    steps = unit_steps(len(_BUFFERS), (-1, 1))
    sizes = nearest(_sizes(start), steps, lambda at: _encodable(_with_sizes(start, at)), FARTHEST)
    # Buffers of 256 elements or fewer are always encodable, and nearer than that.
    assert sizes is not None
    return _with_sizes(start, sizes)


def _encodable(config: Config) -> bool:
    return next(broken_rules(config), None) is None


def _with_usable_elements(config: Config) -> Config:
    """Widths, batch, block and depths moved into their own ranges."""
    clamped: dict[str, Any] = {
        name: min(max(getattr(config, name), low), high) for name, (low, high) in _SCALARS.items()
    }
    clamped["log_acc_width"] = max(clamped["log_acc_width"], clamped["log_inp_width"])
    while _bits_of_smallest_element(clamped) < 3:
        clamped["log_block"] += 1
    sized = replace(config, **clamped)
    moves = [min(max(bits, 0), MAX_DEPTH_BITS) - bits for bits in _depths(sized)]
    return _with_sizes(
        sized, [size + move for size, move in zip(_sizes(sized), moves, strict=True)]
    )


def _sizes(config: Config) -> tuple[int, ...]:
    return tuple(int(getattr(config, name)) for name in _BUFFERS)


def _with_sizes(config: Config, sizes: Sequence[int]) -> Config:
    uop, inp, wgt, acc = sizes
    return replace(
        config,
        log_uop_buff_size=uop,
        log_inp_buff_size=inp,
        log_wgt_buff_size=wgt,
        log_acc_buff_size=acc,
    )


def _bits_of_smallest_element(logs: dict[str, int]) -> int:
    """log2 of the bits of an INP or WGT element, the smaller."""
    activations = logs["log_batch"] + logs["log_block"] + logs["log_inp_width"]
    return min(activations, 2 * logs["log_block"] + logs["log_wgt_width"])
