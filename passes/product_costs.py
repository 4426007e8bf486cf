"""How long the kernels of a product of two computed matrices would take.

They are those of products with constant matrices, once for every matrix, behind the packing of the
second factor.
"""

from dataclasses import fields, replace
from math import ceil, prod

import tvm

from qcompile.passes.kernel_costs import Estimate, estimate, impossible
from qcompile.passes.kernel_work import WHOLE, LayerShape, Work, bits_work, int8_work
from qcompile.passes.rewriter import dtype_of, shape_of
from qcompile.schedules.popcount import WORD_BITS
from qcompile.targets import Target
from qcompile.targets.costs import Costs


def product_estimates(call: tvm.ir.Call, target: Target, costs: Costs) -> list[Estimate]:
    """The kernels of a qcompile.batch_matmul: the fastest first, impossible ones last."""
    layer, batch = product_shape(call), prod(shape_of(call)[:-2])
    outputs, depth = layer.w[0], layer.x[3]
    int8 = _times(batch, int8_work(layer, target))
    works = [replace(int8, copied=int8.copied + batch * depth * outputs)]
    reason = bits_reason(layer)
    if not reason:
        bits, words = _times(batch, bits_work(layer, target)), ceil(depth / WORD_BITS)
        read = batch * words * outputs
        packed = bits.packed + read * layer.weight_bits
        works.append(replace(bits, read=bits.read + read, packed=packed))
    found = [_named(estimate(work, costs)) for work in works]
    other = [Estimate("batch_matmul_bits", None, None, reason)] if reason else []
    return [*sorted(found, key=lambda one: one.predicted_us or 0.0), *other]


def product_shape(call: tvm.ir.Call) -> LayerShape:
    """One of the products of a qcompile.batch_matmul, as of a constant matrix."""
    (rows, depth), columns = shape_of(call.args[0])[-2:], shape_of(call)[-1]
    a_bits, b_bits = (int(call.attrs[key]) for key in ("a_bits", "w_bits"))
    x, w = (1, 1, rows, depth), (columns, 1, 1, depth)
    return LayerShape(x, w, WHOLE, a_bits, b_bits, None, dtype_of(call.args[0]) == "int8")


def bits_reason(layer: LayerShape) -> str:
    """Why a product cannot run on bits; "" where it can."""
    reasons = (one.reason or "" for one in impossible(layer) if one.kernel.endswith("_bits"))
    return next(reasons, "")


def _times(count: int, work: Work) -> Work:
    counts = [field.name for field in fields(Work) if field.name != "kernel"]
    return replace(work, **{name: count * getattr(work, name) for name in counts})


def _named(found: Estimate) -> Estimate:
    return replace(found, kernel=found.kernel.replace("dense", "batch_matmul"))
