"""A planned segment as a bundle keeps it: instructions, the image of memory, and its tensors."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from qcompile.arrays import Array
from qcompile.targets.vta.config import Buffer, Config
from qcompile.targets.vta.encoding import decode
from qcompile.targets.vta.instructions import Instruction

IMAGE_ADDRESS = 0x1000  # of byte 0 of an image, as the instructions know it
INSTRUCTION_BYTES = 16

# Of tensors: planes are digits of codes, or parts of sums, that are wider than a scalar, the lowest
# first; channels and images beyond the tensor's are zero.
LAYOUT = "planes, N/BATCH, C/BLOCK, H, W, BATCH, BLOCK"


@dataclass(frozen=True)
class SegmentTensor:
    """A tensor of a segment in its image.

    shape: (N, H, W, C) of the network. The image holds code - `offset`, from `low` to `high`, as
    an array of `blocks`: LAYOUT; `scalar_bits` each. dtype: "codes", or "sums": int32.
    """

    name: str
    role: str  # input, output or intermediate
    address: int
    bytes: int
    shape: tuple[int, ...]
    blocks: tuple[int, ...]
    scalar_bits: int
    dtype: str
    offset: int
    low: int
    high: int


@dataclass(frozen=True)
class SegmentLayer:
    """A layer and the numbers of its first and last instruction.

    products: the names of the network's convolutions and products that it computes, all in one.
    """

    name: str
    first: int
    last: int
    products: tuple[str, ...] = ()


@dataclass(frozen=True)
class VtaSegment:
    """A segment's program. `number` is its place among the segments of the network."""

    number: int
    name: str
    config: Config
    port_bytes: int
    clock_hz: float
    instructions: bytes
    image: bytes
    tensors: tuple[SegmentTensor, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    layers: tuple[SegmentLayer, ...]

    @property
    def folder(self) -> str:
        """The name of its folder: NN_name, of letters that any file system takes."""
        return f"{self.number:02d}_{re.sub('[^A-Za-z0-9_.-]+', '_', self.name)[:64]}"

    @property
    def instruction_count(self) -> int:
        return len(self.instructions) // INSTRUCTION_BYTES

    @property
    def element_bytes(self) -> tuple[int, ...]:
        """Of each kind of memory, in the order of their numbers in instructions."""
        return tuple(self.config.element_bytes(buffer) for buffer in sorted(Buffer))

    def products(self) -> set[str]:
        """The names of the network's convolutions and products that it computes."""
        return {product for layer in self.layers for product in layer.products}

    def tensor(self, name: str) -> SegmentTensor:
        """The tensor of that name."""
        return next(tensor for tensor in self.tensors if tensor.name == name)

    def decoded(self) -> Sequence[Instruction]:
        """The instructions."""
        return decode(self.config, self.instructions)

    def image_array(self) -> Array:
        """The image, to change."""
        return np.frombuffer(self.image, np.uint8).copy()

    def files(self) -> dict[str, bytes]:
        """The files of its folder, by their names."""
        texts = {"vta_config.json": self.config.to_json(), "manifest.json": self.fields()}
        return {
            "insn.bin": self.instructions,
            "dram.bin": self.image,
            **{name: (json.dumps(text, indent=2) + "\n").encode() for name, text in texts.items()},
        }

    def fields(self) -> dict[str, Any]:
        """Its manifest."""
        return {
            "format": 1,
            "number": self.number,
            "name": self.name,
            "config": self.config.name,
            "port_bits": 8 * self.port_bytes,
            "clock_hz": self.clock_hz,
            "instructions": {"file": "insn.bin", "count": self.instruction_count},
            "image": {"file": "dram.bin", "address": IMAGE_ADDRESS, "bytes": len(self.image)},
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
            "layout": LAYOUT,
            "tensors": [asdict(tensor) for tensor in self.tensors],
            "layers": [asdict(layer) for layer in self.layers],
        }
