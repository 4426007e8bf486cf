"""How long the kernels that could run an integer layer would take, by the target's table."""

from collections.abc import Callable
from dataclasses import dataclass

import tvm

from qcompile.passes.bit_planes import DataPlanes
from qcompile.passes.kernel_work import LayerShape, Work, bits_work, int8_work, packed_work
from qcompile.schedules.dense_packed import MAX_DEPTH
from qcompile.targets import Target
from qcompile.targets.costs import Costs

MAX_PAIRS = 16  # of planes: beyond, bits lose against int8 on every known processor


@dataclass(frozen=True)
class Estimate:
    """A kernel that could run a layer: its predicted time on one core, and what limits it.

    A kernel that is impossible has a `reason`, and no time; so has the only one there is for a
    layer, if no table tells its time.
    """

    kernel: str
    predicted_us: float | None
    limit: str | None
    reason: str | None = None


def estimates_of(layer: LayerShape, target: Target, costs: Costs) -> list[Estimate]:
    """The kernels of a layer: the possible ones first, the fastest of them first."""
    if layer.depthwise:
        return [Estimate("depthwise_conv2d_int8", None, None), *impossible(layer)]
    works = [work(layer, target) for work in possible_kernels(layer)]
    found = [estimate(work, costs) for work in works]
    return [*sorted(found, key=lambda one: one.predicted_us or 0.0), *impossible(layer)]


def possible_kernels(layer: LayerShape) -> list[Callable[[LayerShape, Target], Work]]:
    """The counts of work of each kernel that could run a layer."""
    if layer.depthwise:
        return []
    works = {"int8": int8_work, "packed": packed_work, "bits": bits_work}
    if not layer.pointwise:
        works.pop("packed")
    excluded = {one.kernel.rpartition("_")[2] for one in impossible(layer)}
    return [work for name, work in works.items() if name not in excluded]


def impossible(layer: LayerShape) -> list[Estimate]:
    """The kernels of its kind that cannot run a layer, and why."""
    reasons = {}
    if layer.pointwise and layer.packed_bits is None:
        reasons["packed"] = "weights take more than 4 bits"
    elif layer.pointwise and layer.x[3] > MAX_DEPTH:
        reasons["packed"] = f"sums of {layer.x[3]} products have no bits to spare for a factor"
    if layer.depthwise:
        reasons["bits"] = "one channel a group leaves no words of bits to count"
    elif (pairs := layer.data_bits * layer.weight_bits) > MAX_PAIRS:
        planes = f"{layer.data_bits} x {layer.weight_bits} planes"
        reasons["bits"] = f"{planes} are {pairs} pairs; up to {MAX_PAIRS} can be faster than int8"
    return [
        Estimate(f"{layer.kind}_{kernel}", None, None, reason) for kernel, reason in reasons.items()
    ]


def estimate(work: Work, costs: Costs) -> Estimate:
    parts = parts_of(work, costs)
    total = 1e6 * sum(parts.values())
    return Estimate(work.kernel, round(total, 3), max(parts, key=lambda part: parts[part]))


def parts_of(work: Work, costs: Costs) -> dict[str, float]:
    """The seconds of a kernel by what they go into."""
    cost = costs.kernels[work.kernel]
    return {
        "compute": work.steps * cost.step_s
        + work.narrow_steps * cost.narrow_step_s
        + work.loads * cost.load_s
        + work.tiles * cost.tile_s,
        "memory": work.near_bytes * cost.near_byte_s + work.far_bytes * cost.far_byte_s,
        "packing": work.read * costs.read_s
        + work.packed * costs.pack_s
        + work.copied * costs.copy_s,
        "epilogue": work.sums * cost.sum_s + work.outputs * cost.output_s,
        "call": cost.call_s,
    }


def data_planes(call: tvm.ir.Call) -> DataPlanes:
    """The data of a qcompile.conv2d or qcompile.dense as planes of bits."""
    low, step = (int(value) for value in call.attrs["codes"])
    return DataPlanes(int(call.attrs["a_bits"]), low, step, int(call.attrs["zero_point"]))


def factors(call: tvm.ir.Call) -> tuple[DataPlanes, DataPlanes]:
    """The operands of a qcompile.batch_matmul as planes of bits."""
    (a_low, a_step), (b_low, b_step) = (
        (int(value) for value in call.attrs[key]) for key in ("codes_a", "codes_b")
    )
    a = DataPlanes(int(call.attrs["a_bits"]), a_low, a_step, int(call.attrs["zero_a"]))
    b = DataPlanes(int(call.attrs["w_bits"]), b_low, b_step, int(call.attrs["zero_b"]))
    return a, b
