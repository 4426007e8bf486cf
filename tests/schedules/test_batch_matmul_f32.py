"""batch_matmul_f32 and its packing against NumPy float64.

Tolerance: a sum of K float32 products, in any order, is within K * 2**-24 * sum |a * c| of the
exact one.
"""

import numpy as np
import pytest
import tvm
from tvm import te

from qcompile.schedules import schedule
from qcompile.schedules.batch_matmul_f32 import (
    batch_matmul_f32,
    pack_columns,
    plan_batch_matmul_f32,
)
from qcompile.targets import load_target
from tests.schedules.kernels import ARM_TARGETS, compiled, runnable

SHAPES = [(2, 9, 32, 16), (3, 14, 64, 7), (2, 13, 21, 10), (1, 5, 1, 3), (12, 128, 128, 64)]


@pytest.fixture(params=["x86-64-v3", "znver4", *ARM_TARGETS])
def target(request):
    return runnable(load_target(request.param))


def run(tensors, arrays, target):
    """The last tensor, computed from arrays for the others."""
    func = te.create_prim_func(tensors).with_attr("global_symbol", "main")
    library = compiled(schedule(func, target), target)
    result = tvm.runtime.tensor(np.zeros([int(n) for n in tensors[-1].shape], "float32"))
    library(*map(tvm.runtime.tensor, arrays), result)
    return result.numpy()


@pytest.mark.parametrize("by_columns", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_multiplies(shape, by_columns, target):
    batch, rows, columns, depth = shape
    rng = np.random.default_rng(0)
    a = rng.normal(size=(batch, rows, depth)).astype("float32")
    c = rng.normal(size=(batch, depth, columns)).astype("float32")
    expected = a.astype("float64") @ c
    bound = (abs(a).astype("float64") @ abs(c)) * depth * 2.0**-24

    plan = plan_batch_matmul_f32(*shape, target, by_columns=by_columns)
    if by_columns:
        c = np.ascontiguousarray(c.swapaxes(1, 2))
    if plan.packed:
        given = te.placeholder(c.shape, "float32")
        packing = pack_columns(given, plan=plan, by_columns=by_columns)
        c = run([given, packing], [c], target)
    left, right = (te.placeholder(x.shape, "float32") for x in (a, c))
    product = batch_matmul_f32(left, right, plan=plan, layer="layer")
    y = run([left, right, product], [a, c], target)
    assert (abs(y - expected) <= bound).all()
