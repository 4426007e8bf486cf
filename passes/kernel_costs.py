"""How long the kernels that could run an integer layer would take, by the target's table."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, prod

import numpy as np
import tvm
from numpy.typing import NDArray

from qcompile.ops.contractions import CONV2D
from qcompile.passes.bit_planes import DataPlanes, WeightPlanes
from qcompile.passes.facts import array_of
from qcompile.passes.rewriter import operator_name, shape_of
from qcompile.schedules.intrinsics_x86 import DEPTH, dot_of
from qcompile.schedules.popcount_x86 import WORD_BITS, popcount_of
from qcompile.targets import Target
from qcompile.targets.costs import Costs, KernelCost

MAX_PAIRS = 16  # of planes: beyond, bits lose against int8 on every known processor


@dataclass(frozen=True)
class Estimate:
    """A kernel that could run a layer: its predicted time on one core, and what bounds it."""

    kernel: str
    seconds: float
    limit: str


@dataclass(frozen=True)
class Extents:
    """A layer as rows of outputs: `rows` times `outputs` sums of `positions` times `depth`."""

    rows: int
    outputs: int
    positions: int  # of the kernel's window
    depth: int  # channels of one group
    pixels: int  # of the data
    channels: int  # of the data


def extents_of(call: tvm.ir.Call) -> Extents:
    """The extents of a qcompile.conv2d or qcompile.dense."""
    data, weights, result = (shape_of(value) for value in (call.args[0], call.args[1], call))
    return Extents(
        rows=prod(result[:-1]),
        outputs=result[-1],
        positions=prod(weights[1:-1]),
        depth=weights[-1],
        pixels=prod(data[:-1]),
        channels=data[-1],
    )


def data_planes(call: tvm.ir.Call) -> DataPlanes:
    """The data of a qcompile.conv2d or qcompile.dense as planes of bits."""
    low, step = (int(value) for value in call.attrs["codes"])
    return DataPlanes(int(call.attrs["a_bits"]), low, step, int(call.attrs["zero_point"]))


def weights_of(call: tvm.ir.Call) -> NDArray[np.int8]:
    return array_of(call.args[1])


def groups_of(call: tvm.ir.Call) -> int:
    return int(call.attrs["groups"]) if operator_name(call) == CONV2D else 1


def int8_estimate(call: tvm.ir.Call, target: Target, costs: Costs) -> Estimate:
    lanes, extents = dot_of(target).lanes, extents_of(call)
    vectors = extents.rows * ceil(extents.outputs / lanes)
    steps = vectors * ceil(extents.positions * extents.depth / DEPTH)
    weight_bytes = extents.outputs * extents.positions * extents.depth
    far = weight_bytes if weight_bytes > target.l2_bytes else 0
    return _estimate("int8", costs.int8, costs, vectors, steps, far, {})


def bits_estimate(
    call: tvm.ir.Call, weights: WeightPlanes, target: Target, costs: Costs
) -> Estimate:
    lanes, extents = popcount_of(target, extents_of(call).outputs).lanes, extents_of(call)
    data_bits = int(call.attrs["a_bits"])
    vectors = extents.rows * ceil(extents.outputs / lanes)
    words = extents.positions * ceil(extents.depth / WORD_BITS)
    steps = vectors * words * data_bits * weights.bits
    weight_bytes = extents.outputs * words * weights.bits * WORD_BITS // 8
    far = weight_bytes if weight_bytes > target.l2_bytes else 0
    packed = extents.pixels * ceil(extents.channels / WORD_BITS) * data_bits
    return _estimate(
        "bits", costs.bits, costs, vectors, steps, far, {"packing": packed * costs.pack_s}
    )


def _estimate(
    kernel: str,
    cost: KernelCost,
    costs: Costs,
    vectors: int,
    steps: int,
    far_bytes: int,
    further: Mapping[str, float],
) -> Estimate:
    parts = {
        "compute": steps * cost.step_s,
        "epilogue": vectors * cost.output_s,
        "memory": far_bytes * costs.far_byte_s,
        "call": cost.call_s,
        **further,
    }
    return Estimate(kernel, sum(parts.values()), max(parts, key=lambda part: parts[part]))
