"""2-D convolution of uint8 data with int8 weights, by a tile of sums in registers.

    y[n, i, j, o] = bias[o] + sum over (p, q, c) of
        x[n, i * s_h + p * d_h, j * s_w + q * d_w, g * C + c] * w[o, p, q, c]

x is prepared: uint8, NHWC, padded in space with the zero point and up to `plan.input_shape` with
anything. bias holds all corrections for zero points, and makes up
for the offset of the dot product. There is no im2col: the bytes of a pixel are
contiguous, and `depth` of them are broadcast straight from x.
"""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import s_tir, te, tirx
from tvm.s_tir.schedule import SBlockRV

from qcompile.schedules.conv2d_plan import Conv2dPlan
from qcompile.schedules.dot import factor
from qcompile.schedules.dot_loops import DotLoops
from qcompile.schedules.epilogue import inline_epilogue, pack_at, vectorize_epilogue
from qcompile.schedules.small_integers import told
from qcompile.schedules.space import OPTIONS, PROBLEM, to_json
from qcompile.schedules.tile import round_up
from qcompile.targets import Target


def pack_weights(w: NDArray[np.int8], plan: Conv2dPlan) -> NDArray[np.int8]:
    """w (O, KH, KW, C / groups) as `plan.weight_shape`, filled up with zeros."""
    vectors, kh, kw, steps, lanes, depth = plan.weight_shape
    outputs, inputs = plan.out_channels // plan.groups, w.shape[3]
    merged = plan.group_channels // inputs
    wide = np.zeros((*w.shape[:3], plan.group_channels), "int8")
    for o, kernel in enumerate(w):
        first = o % outputs // (outputs // merged) * inputs
        wide[o, :, :, first : first + inputs] = kernel
    wide = wide.reshape(len(w), kh, kw, -1)
    full = np.zeros((vectors * lanes, kh, kw, steps * depth), "int8")
    full[: len(w), :, :, : wide.shape[3]] = wide
    split = full.reshape(vectors, lanes, kh, kw, steps, depth)
    return np.ascontiguousarray(split.transpose(0, 2, 3, 4, 1, 5))


def random_operands(plan: Conv2dPlan, rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
    """x and w, random and packed: the same for all plans of a problem."""
    problem = plan.problem
    batch, *_, channels = problem.x
    codes = rng.integers(0, 256, (batch, *problem.padded, channels), "uint8")
    w = rng.integers(-127 if problem.narrow else -128, 128, problem.w, "int8")
    x = np.zeros((batch, plan.height, plan.columns, plan.channels), "uint8")
    x[:, :, : codes.shape[2], :channels] = codes
    return x.reshape(plan.input_shape), pack_weights(w, plan)


def conv2d_int8(
    x: te.Tensor,
    w: te.Tensor,
    bias: te.Tensor,
    plan: Conv2dPlan,
    layer: str,
    is_small: bool = False,
) -> te.Tensor:
    """What is computed. x: `plan.input_shape`, w: `plan.weight_shape`, bias: (O,) int32.

    is_small: whether the result is, always (`small_integers`).

    The result is (N, OH, OW, O) int32.
    """
    p = te.reduce_axis((0, plan.kernel[0]), "p")
    q = te.reduce_axis((0, plan.kernel[1]), "q")
    c = te.reduce_axis((0, plan.run), "c")
    lanes, depth, outputs = plan.lanes, plan.depth, plan.vectors * plan.lanes

    def product(n: tirx.Var, i: tirx.Var, j: tirx.Var, o: tirx.Var) -> tirx.Expr:
        row = i * plan.strides[0] + p * plan.dilation[0]
        column = j * plan.strides[1] + q * plan.dilation[1]
        if plan.flat:
            data = x[n, row, column * plan.channels + c]
        else:
            data = x[n, row, column, o // (outputs // plan.groups) * plan.group_channels + c]
        weight = w[o // lanes, p, q, c // depth, o % lanes, c % depth]
        return te.sum(factor(data, plan.offset) * weight.astype("int32"), axis=[p, q, c])

    columns = round_up(plan.out_width, plan.tile_columns)
    attrs = {
        "qcompile.schedule": "conv2d_int8",
        "qcompile.layer": layer,
        "qcompile.plan": plan.to_json(),
        PROBLEM: to_json(plan.problem),
        OPTIONS: json.dumps({"is_small": is_small}),
    }
    shape = plan.batch, plan.out_height, columns, outputs
    sums = te.compute(shape, product, name="sums", attrs=attrs)
    return te.compute(
        (plan.batch, plan.out_height, plan.out_width, plan.out_channels),
        lambda n, i, j, o: told(sums[n, i, j, o] + bias[o], is_small),
        name="biased",
    )


def schedule_conv2d_int8(sch: s_tir.Schedule, sums: SBlockRV, target: Target) -> None:
    """How it is computed: a tile of sums stays in registers through the whole reduction."""
    plan = Conv2dPlan.from_json(str(sch.get(sums).annotations["qcompile.plan"]))
    sch.set_scope(sums, 0, "local")
    output = inline_epilogue(sch, sums)

    dots = DotLoops(sch, sums, plan)
    n, i, j, o, p, q, *_ = sch.get_loops(dots.block)
    io, ii = sch.split(i, [None, plan.tile_rows])
    jo, ji = sch.split(j, [None, plan.tile_columns])
    oo, ov, lane = sch.split(o, [None, plan.tile_vectors, plan.lanes])
    outer = (oo, n, io) if plan.weights_stay else (n, io, oo)
    first, steps, group = sch.split(dots.steps, [plan.split, None, plan.unroll])
    sch.reorder(*outer, jo, first, p, q, steps, group, *dots.order((ii, ji, ov), lane))
    dots.finish_at(jo)
    sch.reverse_compute_at(output, jo, preserve_unit_loops=True)
    pack_at(sch, output, jo, plan.tile_vectors * plan.lanes)
    if plan.parallel:
        sch.parallel(sch.fuse(*outer, *([jo] if plan.chunks == "tiles" else [])))
    vectorize_epilogue(sch, output, 3, plan.lanes)
    apart = plan.strides[1] * (plan.channels if plan.flat else 1)
    dots.tensorize(first, target, apart=apart, flat=plan.flat)
    sch.unroll(group)
