"""A VTA configuration: its JSON form and the widths and depths that follow from it.

Index widths, as the letters of the instruction set's specification (section 2):
U, I, W, A are log2 of the depths of UOP, INP, WGT and ACC; S = max(A, I).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any

from qcompile.errors import Unsupported

UOP_BYTES = 4


class Buffer(IntEnum):
    """On-chip buffers by their number in LOAD and STORE."""

    UOP = 0
    WGT = 1
    INP = 2
    ACC = 3
    OUT = 4


@dataclass(frozen=True)
class Config:
    """Fields are the JSON keys in lower case; all but the first two are base-2 logarithms."""

    target: str
    hw_ver: str
    log_inp_width: int
    log_wgt_width: int
    log_acc_width: int
    log_batch: int
    log_block: int
    log_uop_buff_size: int
    log_inp_buff_size: int
    log_wgt_buff_size: int
    log_acc_buff_size: int

    @staticmethod
    def from_json(mapping: Mapping[str, Any]) -> Config:
        """The configuration that a JSON object describes, encodable or not."""
        known = {field.name.upper(): field for field in fields(Config)}
        if set(mapping) != set(known):
            missing = ", ".join(sorted(set(known) - set(mapping))) or "nothing"
            unknown = ", ".join(sorted(set(mapping) - set(known))) or "nothing"
            raise Unsupported(
                f"VTA configuration: {missing} is missing and {unknown} is unknown; "
                f"it has exactly the keys {', '.join(known)}"
            )
        for key, value in mapping.items():
            expected = str if known[key].type == "str" else int
            if type(value) is not expected:
                raise Unsupported(
                    f"VTA configuration: {key} is {value!r}; it is of type {expected.__name__}"
                )
        return Config(**{key.lower(): value for key, value in mapping.items()})

    def to_json(self) -> dict[str, Any]:
        return {field.name.upper(): getattr(self, field.name) for field in fields(self)}

    def expect_encodable(self) -> None:
        """Raises NotEncodable with the broken rule and the nearest encodable configuration."""
        from qcompile.targets.vta.encodable import expect_encodable

        expect_encodable(self)

    @property
    def name(self) -> str:
        """The conventional short name, `1x16_i8w8a32_15_15_18_17` for the default."""
        return (
            f"{self.batch}x{self.block_out}_i{self.inp_width}w{self.wgt_width}a{self.acc_width}"
            f"_{self.log_uop_buff_size}_{self.log_inp_buff_size}"
            f"_{self.log_wgt_buff_size}_{self.log_acc_buff_size}"
        )

    @property
    def inp_width(self) -> int:
        return 1 << self.log_inp_width

    @property
    def wgt_width(self) -> int:
        return 1 << self.log_wgt_width

    @property
    def acc_width(self) -> int:
        return 1 << self.log_acc_width

    @property
    def out_width(self) -> int:
        return self.inp_width

    @property
    def batch(self) -> int:
        return 1 << self.log_batch

    @property
    def block_in(self) -> int:
        return 1 << self.log_block

    @property
    def block_out(self) -> int:
        return 1 << self.log_block

    @property
    def uop_bits(self) -> int:
        return self.log_uop_buff_size - 2

    @property
    def inp_bits(self) -> int:
        return self.log_inp_buff_size + 3 - self.log_batch - self.log_block - self.log_inp_width

    @property
    def wgt_bits(self) -> int:
        return self.log_wgt_buff_size + 3 - 2 * self.log_block - self.log_wgt_width

    @property
    def acc_bits(self) -> int:
        return self.log_acc_buff_size + 3 - self.log_batch - self.log_block - self.log_acc_width

    @property
    def src_bits(self) -> int:
        return max(self.acc_bits, self.inp_bits)

    def width(self, buffer: Buffer) -> int:
        """Bits of one scalar."""
        widths = (8 * UOP_BYTES, self.wgt_width, self.inp_width, self.acc_width, self.out_width)
        return widths[buffer]

    def scalars(self, buffer: Buffer) -> int:
        """Scalars of one element."""
        outputs = self.batch * self.block_out
        inputs, weights = self.batch * self.block_in, self.block_out * self.block_in
        return (1, weights, inputs, outputs, outputs)[buffer]

    def depth(self, buffer: Buffer) -> int:
        """Elements of the buffer."""
        bits = (self.uop_bits, self.wgt_bits, self.inp_bits, self.acc_bits, self.acc_bits)
        return 1 << bits[buffer]

    def element_bytes(self, buffer: Buffer) -> int:
        return self.scalars(buffer) * self.width(buffer) // 8


DEFAULT = Config(
    target="sim",
    hw_ver="0.0.2",
    log_inp_width=3,
    log_wgt_width=3,
    log_acc_width=5,
    log_batch=0,
    log_block=4,
    log_uop_buff_size=15,
    log_inp_buff_size=15,
    log_wgt_buff_size=18,
    log_acc_buff_size=17,
)
