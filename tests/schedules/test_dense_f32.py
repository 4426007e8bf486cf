"""dense_f32 against NumPy float64.

Tolerance: a sum of K float32 products, in any order, is within K * 2**-24 * sum |x * w| of the
exact one; random signs stay far below, so a tenth of that bound would already catch a wrong term.
"""

import numpy as np
import pytest
import tvm
from tvm import te, tirx

from qcompile.schedules import schedule
from qcompile.schedules.dense_f32 import dense_f32, pack_weights, plan_dense_f32
from qcompile.targets import Target, load_target
from tests.schedules.kernels import ARM_TARGETS, compiled, runnable

SHAPES = [(1, 1, 1), (1, 1000, 33), (13, 17, 5), (14, 32, 64), (31, 15, 40), (127, 49, 16)]


@pytest.fixture(params=["x86-64-v3", "znver4", *ARM_TARGETS])
def target(request):
    return runnable(load_target(request.param))


def run(x, weights, bias, target: Target, epilogue=None):
    """x @ weights.T + bias, then the epilogue, as the schedule computes it."""
    plan = plan_dense_f32(*x.shape[:1], *weights.shape, target)
    packed = pack_weights(weights, plan)
    tensors = [te.placeholder(a.shape, "float32") for a in (x, packed, bias)]
    y = dense_f32(*tensors, plan=plan, layer="layer")
    if epilogue is not None:
        y = epilogue(y)
    func = te.create_prim_func([*tensors, y]).with_attr("global_symbol", "main")
    library = compiled(schedule(func, target), target)
    result = tvm.runtime.tensor(np.zeros([int(n) for n in y.shape], str(y.dtype)))
    library(*map(tvm.runtime.tensor, (x, packed, bias)), result)
    return result.numpy()


def data(rows, columns, depth, seed):
    rng = np.random.default_rng(seed)
    shapes = [(rows, depth), (columns, depth), (columns,)]
    return [rng.normal(size=shape).astype("float32") for shape in shapes]


def assert_close(y, x, weights, bias):
    x, weights, bias = (a.astype("float64") for a in (x, weights, bias))
    bound = (x.shape[1] + 1) * 2.0**-24 * (abs(x) @ abs(weights).T + abs(bias))
    assert (abs(y - (x @ weights.T + bias)) <= bound).all()


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("shape", SHAPES)
def test_multiplies(shape, seed, target):
    x, weights, bias = data(*shape, seed)
    assert_close(run(x, weights, bias, target), x, weights, bias)


def test_reads_nothing_beyond_the_rows(target):
    x, weights, bias = data(130, 20, 9, 0)
    x[127:] = np.nan
    assert_close(run(x[:127], weights, bias, target), x[:127], weights, bias)


def test_multiplies_many_columns(target):
    x, weights, bias = data(5, 6625, 24, 0)
    assert_close(run(x, weights, bias, target), x, weights, bias)


def test_fuses_what_follows(target):
    x, weights, bias = data(30, 40, 16, 0)

    def double_and_cut(y):
        doubled = te.compute(y.shape, lambda m, n: y[m, n] * 2.0, name="doubled")
        return te.compute(y.shape, lambda m, n: tirx.max(doubled[m, n], 0.0), name="cut")

    expected = np.maximum(2 * run(x, weights, bias, target), 0)
    np.testing.assert_array_equal(run(x, weights, bias, target, double_and_cut), expected)
