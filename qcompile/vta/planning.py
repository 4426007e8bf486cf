"""From the layers that VTA computes to a segment's program and papers."""

from collections.abc import Mapping

from qcompile.schedules.space import Decisions
from qcompile.targets.vta.config import Config
from qcompile.targets.vta.encoding import encode
from qcompile.targets.vta.layers import Segment, VtaTensor
from qcompile.targets.vta.planner import plan_segment
from qcompile.targets.vta.program import Placement
from qcompile.targets.vta.target import VtaTarget
from qcompile.vta.segment import SegmentLayer, SegmentTensor, VtaSegment


def planned(
    segment: Segment,
    number: int,
    board: VtaTarget,
    products: Mapping[str, tuple[str, ...]],
    decisions: Mapping[str, Decisions] | None = None,
) -> VtaSegment:
    """The segment's program on that board; `number` is its place among those of the network.

    products: the convolutions and products of the network in each layer, by the layer's name.
    decisions: by layer's name; the cycle model takes the others.
    Raises what the planner raises.
    """
    program = plan_segment(segment, board.config, board.port_bytes, decisions)
    return VtaSegment(
        number=number,
        name=segment.name,
        config=program.config,
        port_bytes=board.port_bytes,
        clock_hz=board.clock_hz,
        instructions=encode(program.config, program.instructions),
        image=program.image.tobytes(),
        tensors=tuple(
            _tensor(segment, segment.tensor(name), place, program.config)
            for name, place in program.placements.items()
        ),
        inputs=segment.inputs,
        outputs=segment.outputs,
        layers=tuple(
            SegmentLayer(name, first, last, products.get(name, ()))
            for name, first, last in program.layers
        ),
    )


def _tensor(segment: Segment, tensor: VtaTensor, place: Placement, config: Config) -> SegmentTensor:
    n, height, width, channels = tensor.shape
    batches, blocks = -(-n // config.batch), -(-channels // config.block_out)
    role = "input" if tensor.name in segment.inputs else "intermediate"
    return SegmentTensor(
        name=tensor.name,
        role="output" if tensor.name in segment.outputs else role,
        address=place.address,
        bytes=place.bytes,
        shape=tensor.shape,
        blocks=(place.planes, batches, blocks, height, width, config.batch, config.block_out),
        scalar_bits=config.out_width,
        dtype=tensor.dtype,
        offset=tensor.offset,
        low=tensor.low,
        high=tensor.high,
    )
