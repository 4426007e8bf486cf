import numpy as np
import pytest
from tvm import relax
from tvm.relax.op import nn

from qcompile.ops import threshold
from qcompile.passes.sink_reshape import SinkReshape
from tests.passes.modules import assert_same, const, dequantized, module, operators, quantized, run

RNG = np.random.default_rng(0)
ROWS, IMAGE = (6, 4), (1, 2, 3, 4)
X = RNG.integers(-9, 10, ROWS).astype("float32")
SLOPES = np.float32([0.5, -1, 2, 0])


def behind(follow, shape=IMAGE):
    """follow(reshape(-x)); the negation stands for a kernel with its epilogue."""

    def body(emit, x):
        return follow(emit, emit(relax.op.reshape(emit(relax.op.negative(x)), shape)))

    return module(body, (ROWS, "float32"))


def hard_swish(emit, y):
    gate = emit(relax.op.clip(emit(relax.op.add(y, const(3.0))), 0, 6))
    return emit(relax.op.multiply(y, gate))


LIMITS = np.array([[-3, 0, 2, 9], [0, 0, 5, 9], [1, 4, 5, 9]], "int32")
Y = -X.reshape(IMAGE)
FOLLOWERS = {
    "unary": (lambda emit, y: nn.leakyrelu(y, 0.5), np.where(Y > 0, Y, Y / 2)),
    "single": (lambda emit, y: relax.op.multiply(const(3.0), y), 3 * Y),
    "last_axis": (lambda emit, y: relax.op.add(y, const(SLOPES)), Y + SLOPES),
    "same_shape": (lambda emit, y: relax.op.add(const(Y), y), 2 * Y),
    "prelu": (lambda emit, y: nn.prelu(y, const(SLOPES), 3), np.where(Y > 0, Y, Y * SLOPES)),
    "prelu_of_minus_one": (
        lambda emit, y: nn.prelu(y, const(SLOPES), -1),
        np.where(Y > 0, Y, Y * SLOPES),
    ),
    "threshold": (
        lambda emit, y: threshold(y, relax.const(LIMITS), low=-1, step=2, dtype="int8"),
        2 * (Y[None] >= LIMITS[:, None, None, None]).sum(axis=0) - 1,
    ),
    "read_twice": (hard_swish, Y * (Y + 3).clip(0, 6)),
    "quantizers": (
        lambda emit, y: dequantized(
            emit(quantized(y, np.ones(4), np.zeros(4), axis=3)), SLOPES, axis=3
        ),
        Y.clip(0, 255) * SLOPES,
    ),
}


@pytest.mark.parametrize("case", FOLLOWERS)
def test_the_reshape_comes_last(case):
    follow, expected = FOLLOWERS[case]
    before = behind(follow)
    mod = SinkReshape()(before)
    found = [name for name in operators(mod) if name != "reshape"]
    assert found == [name for name in operators(before) if name != "reshape"]
    assert operators(mod)[-1] == "reshape"
    np.testing.assert_array_equal(run(mod, X), expected)


def test_reshapes_of_reshapes_are_one():
    mod = SinkReshape()(behind(lambda emit, y: relax.op.reshape(y, (3, 8))))
    assert operators(mod) == ["negative", "reshape"]
    mod = SinkReshape()(behind(lambda emit, y: relax.op.reshape(y, ROWS)))
    assert operators(mod) == ["negative"]


def not_only_elementwise(emit, y):
    return [emit(nn.relu(y)), emit(relax.op.sum(y, [3]))]


NEAR_MISSES = {
    "another_last_axis": behind(lambda emit, y: nn.relu(y), (4, 6)),
    "not_elementwise": behind(lambda emit, y: relax.op.sum(y, [3])),
    "not_only_elementwise": behind(not_only_elementwise),
    "along_another_axis": behind(lambda emit, y: relax.op.add(y, const(np.ones((3, 1))))),
    "broadcasts": behind(lambda emit, y: relax.op.add(y, const(np.ones((5, 2, 3, 4))))),
    "slopes_of_another_axis": behind(lambda emit, y: nn.prelu(y, const(np.ones(3)), 2)),
    "no_kernel": module(
        lambda emit, x: nn.relu(emit(relax.op.reshape(x, IMAGE))), (ROWS, "float32")
    ),
}


@pytest.mark.parametrize("case", NEAR_MISSES)
def test_leaves_alone(case):
    assert_same(SinkReshape()(NEAR_MISSES[case]), NEAR_MISSES[case])
