"""Pooling of 8-bit codes: the largest code of a window, or the sum of its codes.

    max:  y[n, i, j, c] = max over (p, q) of x[n, row, column, c], outside of x the lowest code
    sum:  y[n, i, j, c] = sum over (p, q) of x[n, row, column, c], outside of x `zero`

with row = i * s_h + p * d_h - top, column = j * s_w + q * d_w - left. x: (N, H, W, C) uint8 or
int8. The sum is int32: averages divide it in their epilogue, by the size of the whole window when
`zero` is the zero point and pads count, else by the codes inside.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import s_tir, te, tirx
from tvm.s_tir.schedule import SBlockRV

from qcompile.schedules.epilogue import inline_epilogue
from qcompile.schedules.pool2d_plan import Pool2dPlan
from qcompile.schedules.space import PROBLEM, to_json
from qcompile.targets import Target


def pool2d_int8(x: te.Tensor, plan: Pool2dPlan, layer: str = "") -> te.Tensor:
    """The largest codes, of the type of x, or the sums of the codes, int32: (N, OH, OW, C)."""
    problem = plan.problem
    shape = problem.x[0], *problem.counts, problem.x[3]
    axes = [te.reduce_axis((0, extent), "pq"[a]) for a, extent in enumerate(problem.kernel)]

    def largest(*place: tirx.Var) -> tirx.Expr:
        lowest = tirx.min_value(problem.codes)
        return te.max(_code(x, plan, place, axes, lowest), axis=axes)

    def total(*place: tirx.Var) -> tirx.Expr:
        zero = tirx.const(problem.zero, problem.codes)
        code = _code(x, plan, place, axes, zero)
        return te.sum(code.astype(problem.sum_type), axis=axes)

    attrs = {
        "qcompile.schedule": "pool2d_int8",
        "qcompile.layer": layer,
        "qcompile.plan": to_json(plan),
        PROBLEM: to_json(problem),
    }
    entry = largest if problem.largest else total
    pooled = te.compute(shape, entry, name="pooled", attrs=attrs)
    if not problem.widened:
        return pooled
    return te.compute(shape, lambda *index: pooled(*index).astype("int32"), name="sums")


def _code(
    x: te.Tensor,
    plan: Pool2dPlan,
    place: Sequence[tirx.Var],
    axes: Sequence[tirx.IterVar],
    outside: tirx.Expr,
) -> tirx.Expr:
    """The code at one position of the window of a place."""
    problem = plan.problem
    n, *indices, c = place
    tests, positions = [], []
    for a, index in enumerate(indices):
        stride, first = problem.strides[a], problem.pads[a]
        position = index * stride + axes[a].var * problem.dilation[a] - first
        positions.append(position)
        if first > 0:
            tests.append(position >= 0)
        reach = (problem.kernel[a] - 1) * problem.dilation[a]
        if (problem.counts[a] - 1) * stride + reach - first >= problem.x[1 + a]:
            tests.append(position < problem.x[1 + a])
    code = x[n, *positions, c]
    return tirx.if_then_else(tirx.all(*tests), code, outside) if tests else code


def random_operands(plan: Pool2dPlan, rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
    """x, random: the same for all plans of a problem."""
    codes = np.iinfo(plan.problem.codes)
    return (rng.integers(codes.min, codes.max + 1, plan.problem.x, plan.problem.codes),)


def schedule_pool2d_int8(sch: s_tir.Schedule, pooled: SBlockRV, target: Target) -> None:
    """How it is computed: vectors of channels stay in registers while the window passes."""
    plan = Pool2dPlan.from_json(str(sch.get(pooled).annotations["qcompile.plan"]))
    output = inline_epilogue(sch, pooled)
    n, i, j, c, p, q = sch.get_loops(pooled)
    sch.set_scope(pooled, 0, "global" if plan.unrolled == "all" else "local")
    channels, vector, lane = sch.split(c, [None, plan.vectors, plan.lanes])
    inner = (channels, j) if plan.pixels_inside else (j, channels)
    sch.reorder(n, i, *inner, p, q, vector, lane)
    sch.reverse_compute_at(output, inner[1], preserve_unit_loops=True)
    if plan.chunks != "none":
        sch.parallel(sch.fuse(n, i, *(inner if plan.chunks == "tiles" else [])))
    output_lane = sch.get_loops(output)[-1]
    if plan.vectors > 1:
        output_vector, output_lane = sch.split(output_lane, [None, plan.lanes])
        sch.unroll(output_vector)
    sch.vectorize(output_lane)
    sch.vectorize(lane)
    sch.unroll(vector)
    for loop in {"all": (p, q), "columns": (q,), "none": ()}[plan.unrolled]:
        sch.unroll(loop)
    sch.decompose_reduction(pooled, p)
