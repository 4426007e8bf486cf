"""The kernels whose decisions a tuner may take, by the name of their schedule."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import te

from qcompile.schedules import conv2d_int8, dense_int8
from qcompile.schedules.batch_matmul_int8 import batch_matmul_int8
from qcompile.schedules.conv2d_plan import Conv2dPlan, Conv2dProblem, conv2d_plan, conv2d_space
from qcompile.schedules.space import Decisions, Space
from qcompile.targets import Target

Arrays = tuple[NDArray[Any], ...]


@dataclass(frozen=True)
class Tunable:
    """One kind of kernel.

    problem, plan: dataclasses, the latter with `from_json`. space and planned: what may be decided,
    and the plan with these decisions. compute: what is computed, as (plan, operands, layer).
    shapes: those of the first operands, which depend on the plan. operands: random values of these,
    the same for every plan of a problem but for the order in memory; what a plan does not tell of
    is arbitrary.
    """

    problem: Callable[..., Any]
    plan: Callable[[str], Any]
    space: Callable[[Any, Target], Space]
    planned: Callable[[Any, Target, Decisions], Any]
    compute: Callable[[Any, Sequence[te.Tensor], str], te.Tensor]
    shapes: Callable[[Any], tuple[tuple[int, ...], ...]]
    operands: Callable[[Any, np.random.Generator], Arrays]


def _conv2d_int8(plan: Conv2dPlan, operands: Sequence[te.Tensor], layer: str) -> te.Tensor:
    x, w, bias = operands
    return conv2d_int8.conv2d_int8(x, w, bias, plan, layer)


def _dense_int8(plan: dense_int8.DensePlan, operands: Sequence[te.Tensor], layer: str) -> te.Tensor:
    if plan.batch:
        x, w = operands
        return batch_matmul_int8(x, w, plan, layer)
    x, w, bias = operands
    return dense_int8.dense_int8(x, w, bias, plan, layer)


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
}
"""By the annotation `qcompile.schedule` of the block that the schedule begins with."""
