import numpy as np
import pytest
from tvm import relax

from qcompile.passes.narrow_constants import NarrowConstants
from tests.passes.modules import assert_same, calls, const, constants, module, run

SHAPE = (2, 3, 4, 5)
CHANNELS = np.array([1, -2, 3.5], "float32").reshape(1, 3, 1, 1)
X = np.random.default_rng(0).normal(size=SHAPE).astype("float32")


@pytest.mark.parametrize("operator", ["add", "subtract", "multiply", "divide", "greater"])
@pytest.mark.parametrize("first", [False, True])
def test_narrows(operator, first):
    def body(_, x):
        pair = (const(np.broadcast_to(CHANNELS, SHAPE)), x)
        return getattr(relax.op, operator)(*(pair if first else pair[::-1]))

    before = module(body, (SHAPE, "float32"))
    after = NarrowConstants()(before)
    (call,) = calls(after)
    assert constants(call)[0].shape == (1, 3, 1, 1)
    np.testing.assert_array_equal(run(after, X), run(before, X))


def test_narrows_to_one_value():
    def body(emit, x):
        mask = emit(relax.op.greater(x, const(np.zeros(SHAPE))))
        return relax.op.where(mask, x, const(np.full(SHAPE, 0.25)))

    before = module(body, (SHAPE, "float32"))
    after = NarrowConstants()(before)
    assert [constants(call)[0].shape for call in calls(after)] == [(1, 1, 1, 1)] * 2
    np.testing.assert_array_equal(run(after, X), run(before, X))


def test_leaves_alone_what_varies():
    def body(_, x):
        return relax.op.add(x, const(X))

    before = module(body, (SHAPE, "float32"))
    assert_same(NarrowConstants()(before), before)


def test_leaves_alone_what_gives_the_shape():
    def body(_, x):
        return relax.op.add(x, const(np.zeros(SHAPE)))

    before = module(body, ((1, 3, 1, 1), "float32"))
    assert_same(NarrowConstants()(before), before)
