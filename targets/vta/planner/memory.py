"""Where tensors lie in DRAM: those between layers share memory once nothing reads them any more.

A STORE into memory that was read before comes after these LOADs: COMPUTE has taken what they
brought before it made what STORE writes.
"""

from __future__ import annotations

from qcompile.targets.vta.config import Buffer, Config
from qcompile.targets.vta.image import LEAST_ALIGNMENT, Image, aligned
from qcompile.targets.vta.layers import Layer, MaxPool, Segment, VtaTensor
from qcompile.targets.vta.planner.operands import planes_of
from qcompile.targets.vta.program import Placement


def placements(segment: Segment, config: Config, image: Image) -> dict[str, Placement]:
    """By name, the place of each tensor of the segment."""
    kept = {*segment.inputs, *segment.outputs, *(each.name for each in segment.tensors)}
    placed: dict[str, Placement] = {}
    for tensor in segment.tensors:
        placed[tensor.name] = _placed(tensor, config, image.reserve(*_size(tensor, config)))
    live: dict[str, tuple[int, int]] = {}  # offsets from, to
    temporary: dict[str, tuple[int, VtaTensor]] = {}
    for number, layer in enumerate(segment.layers):
        tensor = layer.output
        if tensor.name in kept:
            placed[tensor.name] = _placed(tensor, config, image.reserve(*_size(tensor, config)))
        else:
            size, alignment = _size(tensor, config)
            offset = _first_gap(size, max(alignment, LEAST_ALIGNMENT), [*live.values()])
            live[tensor.name] = offset, offset + size
            temporary[tensor.name] = offset, tensor
        later = {name for each in segment.layers[number + 1 :] for name in operands(each)}
        live = {name: part for name, part in live.items() if name in later}
    sizes = [offset + _size(tensor, config)[0] for offset, tensor in temporary.values()]
    arena = image.reserve(max(sizes, default=0), config.element_bytes(Buffer.OUT))
    for name, (offset, tensor) in temporary.items():
        placed[name] = _placed(tensor, config, arena + offset)
    return placed


def operands(layer: Layer) -> tuple[str, ...]:
    """The names of the tensors that a layer reads."""
    if isinstance(layer, MaxPool):
        return (layer.tensor,)
    return tuple(source.tensor for source in layer.sources)


def _first_gap(size: int, alignment: int, taken: list[tuple[int, int]]) -> int:
    """The lowest aligned offset where so many bytes are free."""
    offset = 0
    for begin, end in sorted(taken):
        if begin - offset >= size:
            break
        offset = max(offset, aligned(end, alignment))
    return offset


def _planes(tensor: VtaTensor, config: Config) -> int:
    sums = tensor.dtype == "sums"
    return config.acc_width // config.out_width if sums else planes_of(tensor, config)


def _size(tensor: VtaTensor, config: Config) -> tuple[int, int]:
    """Bytes of the tensor and of one element."""
    n, height, width, channels = tensor.shape
    element = config.element_bytes(Buffer.OUT)
    blocks = -(-n // config.batch) * -(-channels // config.block_out)
    return _planes(tensor, config) * blocks * height * width * element, element


def _placed(tensor: VtaTensor, config: Config, address: int) -> Placement:
    size, _ = _size(tensor, config)
    return Placement(address, size, tensor.shape, tensor.dtype, _planes(tensor, config))
