"""The kernels whose decisions a tuner may take, by the name of their schedule."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import te

from qcompile.schedules import (
    batch_matmul_f32,
    conv2d_bits,
    conv2d_f32,
    conv2d_int8,
    dense_bits,
    dense_f32,
    dense_int8,
    dense_packed,
    depthwise_conv2d_f32,
    depthwise_conv2d_int8,
    pool2d_int8,
)
from qcompile.schedules.batch_matmul_bits import batch_matmul_bits
from qcompile.schedules.batch_matmul_int8 import batch_matmul_int8
from qcompile.schedules.conv2d_bits_plan import (
    Conv2dBitsPlan,
    Conv2dBitsProblem,
    conv2d_bits_plan,
    conv2d_bits_space,
)
from qcompile.schedules.conv2d_plan import Conv2dPlan, Conv2dProblem, conv2d_plan, conv2d_space
from qcompile.schedules.dense_bits_plan import (
    DenseBitsPlan,
    DenseBitsProblem,
    dense_bits_plan,
    dense_bits_space,
)
from qcompile.schedules.depthwise_plan import (
    DepthwisePlan,
    DepthwiseProblem,
    depthwise_plan,
    depthwise_space,
)
from qcompile.schedules.pool2d_plan import Pool2dPlan, Pool2dProblem, pool2d_plan, pool2d_space
from qcompile.schedules.space import Decisions, Space
from qcompile.targets import Target

Arrays = tuple[NDArray[Any], ...]


@dataclass(frozen=True)
class Tunable:
    """One kind of kernel.

    problem, plan: dataclasses, the latter with `from_json`. space and planned: what may be decided,
    and the plan with these decisions. compute: as (plan, operands, layer, **options).
    shapes: those of the first operands, which depend on the plan. operands: random values of these,
    the same for every plan of a problem but for the order in memory; what a plan does not tell of
    is arbitrary. followed: whether a block of the kernel's own follows the one of the sums.
    """

    problem: Callable[..., Any]
    plan: Callable[[str], Any]
    space: Callable[[Any, Target], Space]
    planned: Callable[[Any, Target, Decisions], Any]
    compute: Callable[..., te.Tensor]
    shapes: Callable[[Any], tuple[tuple[int, ...], ...]]
    operands: Callable[[Any, np.random.Generator], Arrays]
    followed: Callable[[Any], bool] = lambda plan: True


def _conv2d_int8(
    plan: Conv2dPlan, operands: Sequence[te.Tensor], layer: str, **options: bool
) -> te.Tensor:
    x, w, bias = operands
    return conv2d_int8.conv2d_int8(x, w, bias, plan, layer, **options)


def _dense_int8(plan: dense_int8.DensePlan, operands: Sequence[te.Tensor], layer: str) -> te.Tensor:
    if plan.batch:
        x, w = operands
        return batch_matmul_int8(x, w, plan, layer)
    x, w, bias = operands
    return dense_int8.dense_int8(x, w, bias, plan, layer)


def _conv2d_bits(
    plan: Conv2dBitsPlan, operands: Sequence[te.Tensor], layer: str, **options: Any
) -> te.Tensor:
    x, w, bias = operands
    return conv2d_bits.conv2d_bits(x, w, bias, plan, layer, **options)


def _dense_bits(plan: DenseBitsPlan, operands: Sequence[te.Tensor], layer: str) -> te.Tensor:
    if plan.batch:
        x, w = operands
        return batch_matmul_bits(x, w, plan, layer)
    x, w, bias = operands
    return dense_bits.dense_bits(x, w, bias, plan, layer)


def _dense_packed(
    plan: dense_packed.DensePackedPlan, operands: Sequence[te.Tensor], layer: str
) -> te.Tensor:
    x, w, bias = operands
    return dense_packed.dense_packed(x, w, bias, plan, layer)


def _depthwise_conv2d_int8(
    plan: DepthwisePlan, operands: Sequence[te.Tensor], layer: str
) -> te.Tensor:
    x, w, bias = operands
    return depthwise_conv2d_int8.depthwise_conv2d_int8(x, w, bias, plan, layer)


def _conv2d_f32(
    plan: conv2d_f32.Conv2dF32Plan, operands: Sequence[te.Tensor], layer: str
) -> te.Tensor:
    x, w, bias = operands
    return conv2d_f32.conv2d_f32(x, w, bias, plan=plan, layer=layer)


def _depthwise_conv2d_f32(
    plan: depthwise_conv2d_f32.DepthwiseConv2dF32Plan, operands: Sequence[te.Tensor], layer: str
) -> te.Tensor:
    x, w, bias = operands
    return depthwise_conv2d_f32.depthwise_conv2d_f32(x, w, bias, plan=plan, layer=layer)


def _dense_f32(
    plan: dense_f32.DenseF32Plan, operands: Sequence[te.Tensor], layer: str
) -> te.Tensor:
    x, w, bias = operands
    return dense_f32.dense_f32(x, w, bias, plan=plan, layer=layer)


def _batch_matmul_f32(
    plan: batch_matmul_f32.BatchMatmulF32Plan, operands: Sequence[te.Tensor], layer: str
) -> te.Tensor:
    a, c = operands
    return batch_matmul_f32.batch_matmul_f32(a, c, plan=plan, layer=layer)


def _pool2d_int8(plan: Pool2dPlan, operands: Sequence[te.Tensor], layer: str) -> te.Tensor:
    (x,) = operands
    return pool2d_int8.pool2d_int8(x, plan, layer)


def _input_and_weights(plan: Any) -> tuple[tuple[int, ...], ...]:
    return plan.input_shape, plan.weight_shape


TUNABLES: Mapping[str, Tunable] = {
    "conv2d_int8": Tunable(
        Conv2dProblem,
        Conv2dPlan.from_json,
        conv2d_space,
        conv2d_plan,
        _conv2d_int8,
        _input_and_weights,
        conv2d_int8.random_operands,
    ),
    "dense_int8": Tunable(
        dense_int8.DenseProblem,
        dense_int8.DensePlan.from_json,
        dense_int8.dense_space,
        dense_int8.dense_plan,
        _dense_int8,
        _input_and_weights,
        dense_int8.random_operands,
    ),
    "conv2d_bits": Tunable(
        Conv2dBitsProblem,
        Conv2dBitsPlan.from_json,
        conv2d_bits_space,
        conv2d_bits_plan,
        _conv2d_bits,
        _input_and_weights,
        conv2d_bits.random_operands,
    ),
    "dense_bits": Tunable(
        DenseBitsProblem,
        DenseBitsPlan.from_json,
        dense_bits_space,
        dense_bits_plan,
        _dense_bits,
        _input_and_weights,
        dense_bits.random_operands,
    ),
    "dense_packed": Tunable(
        dense_packed.DensePackedProblem,
        dense_packed.DensePackedPlan.from_json,
        dense_packed.dense_packed_space,
        dense_packed.dense_packed_plan,
        _dense_packed,
        lambda plan: (plan.dense.input_shape, plan.weight_shape),
        dense_packed.random_operands,
    ),
    "depthwise_conv2d_int8": Tunable(
        DepthwiseProblem,
        DepthwisePlan.from_json,
        depthwise_space,
        depthwise_plan,
        _depthwise_conv2d_int8,
        _input_and_weights,
        depthwise_conv2d_int8.random_operands,
    ),
    "conv2d_f32": Tunable(
        conv2d_f32.Conv2dF32Problem,
        conv2d_f32.Conv2dF32Plan.from_json,
        conv2d_f32.conv2d_f32_space,
        conv2d_f32.conv2d_f32_plan,
        _conv2d_f32,
        _input_and_weights,
        conv2d_f32.random_operands,
    ),
    "depthwise_conv2d_f32": Tunable(
        depthwise_conv2d_f32.DepthwiseConv2dF32Problem,
        depthwise_conv2d_f32.DepthwiseConv2dF32Plan.from_json,
        depthwise_conv2d_f32.depthwise_conv2d_f32_space,
        depthwise_conv2d_f32.depthwise_conv2d_f32_plan,
        _depthwise_conv2d_f32,
        _input_and_weights,
        depthwise_conv2d_f32.random_operands,
    ),
    "dense_f32": Tunable(
        dense_f32.DenseF32Problem,
        dense_f32.DenseF32Plan.from_json,
        dense_f32.dense_f32_space,
        dense_f32.dense_f32_plan,
        _dense_f32,
        _input_and_weights,
        dense_f32.random_operands,
    ),
    "batch_matmul_f32": Tunable(
        batch_matmul_f32.BatchMatmulF32Problem,
        batch_matmul_f32.BatchMatmulF32Plan.from_json,
        batch_matmul_f32.batch_matmul_f32_space,
        batch_matmul_f32.batch_matmul_f32_plan,
        _batch_matmul_f32,
        _input_and_weights,
        batch_matmul_f32.random_operands,
    ),
    "pool2d_int8": Tunable(
        Pool2dProblem,
        Pool2dPlan.from_json,
        pool2d_space,
        pool2d_plan,
        _pool2d_int8,
        lambda plan: (plan.problem.x,),
        pool2d_int8.random_operands,
        followed=lambda plan: plan.problem.widened,
    ),
}
"""By the annotation `qcompile.schedule` of the block that the schedule begins with."""
