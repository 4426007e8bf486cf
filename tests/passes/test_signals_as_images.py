import numpy as np
import pytest
from tvm.relax import op

from qcompile.passes.conv1d_as_conv2d import Conv1dAsConv2d
from qcompile.passes.signals_as_images import SignalsAsImages
from tests.passes import references
from tests.passes.modules import (
    assert_same,
    attribute,
    calls,
    const,
    dequantized,
    module,
    operators,
    quantized,
    run,
)

RNG = np.random.default_rng(0)
X = RNG.integers(-9, 10, (2, 4, 1, 6)).astype("float32")
COLUMN = X.reshape(2, 4, 6, 1)
SIGNAL = X.reshape(2, 4, 6)
OTHER = RNG.integers(-9, 10, (2, 4, 6)).astype("float32")


def of_signal(body, images=X):
    """body(emit, signal(x), y)."""

    def whole(emit, x, y):
        return body(emit, emit(op.reshape(x, SIGNAL.shape)), y)

    return module(whole, (images.shape, "float32"), (OTHER.shape, "float32"))


BODIES = {
    "unary": (lambda emit, s, y: op.abs(s), np.abs(SIGNAL)),
    "binary": (lambda emit, s, y: op.subtract(y, s), OTHER - SIGNAL),
    "two_signals": (lambda emit, s, y: op.multiply(s, emit(op.abs(s))), SIGNAL * np.abs(SIGNAL)),
    "channels": (
        lambda emit, s, y: op.add(s, const([[1], [2], [3], [4]])),
        SIGNAL + np.arange(1, 5)[:, None],
    ),
    "columns": (lambda emit, s, y: op.add(s, const(np.arange(6))), SIGNAL + np.arange(6)),
    "single": (lambda emit, s, y: op.maximum(s, const(2)), np.maximum(SIGNAL, 2)),
    "concat": (lambda emit, s, y: op.concat([y, s], 1), np.concatenate([OTHER, SIGNAL], 1)),
    "largest": (lambda emit, s, y: op.max(s, 2, keepdims=True), SIGNAL.max(2, keepdims=True)),
    "sum": (lambda emit, s, y: op.sum(s, -2), SIGNAL.sum(1)),
    "total": (lambda emit, s, y: op.sum(s), SIGNAL.sum()),
    "flat": (lambda emit, s, y: op.reshape(s, (2, 24)), SIGNAL.reshape(2, 24)),
    "transposed": (lambda emit, s, y: op.permute_dims(s, [0, 2, 1]), SIGNAL.transpose(0, 2, 1)),
}


@pytest.mark.parametrize("images", [X, COLUMN], ids=["row", "column"])
@pytest.mark.parametrize("case", BODIES)
def test_keeps_the_numbers(case, images):
    body, expected = BODIES[case]
    mod = SignalsAsImages()(of_signal(body, images))
    assert operators(mod)[-1] == "reshape"
    # Exact: small integers.
    np.testing.assert_array_equal(run(mod, images, OTHER), expected)


def test_the_unit_axis_is_dropped_at_the_end():
    mod = SignalsAsImages()(of_signal(lambda emit, s, y: op.abs(emit(op.negative(s)))))
    assert operators(mod) == ["negative", "abs", "reshape"]


@pytest.mark.parametrize(("images", "moved"), [(X, 3), (COLUMN, 2)], ids=["row", "column"])
def test_axes_of_quantizers_move(images, moved):
    scale = np.array([0.5, 1, 2, 4, 8, 16], "float32")
    zero = np.full(6, 100, "uint8")

    def body(emit, s, y):
        codes = emit(quantized(s, scale, zero, axis=2))
        return dequantized(codes, scale, zero, axis=2)

    mod = SignalsAsImages()(of_signal(body, images))
    found = calls(mod, "qcompile.quantize", "qcompile.dequantize")
    assert [attribute(call, "axis") for call in found] == [moved, moved]
    codes = references.codes(SIGNAL, scale, 100, 0, 255)
    # Exact: scales are powers of two.
    np.testing.assert_array_equal(run(mod, images, OTHER), references.values(codes, scale, 100))


def test_nothing_is_between_one_dimensional_convolutions():
    w = const(np.ones((4, 4, 3)))

    def body(emit, s, y):
        hidden = emit(op.nn.relu(emit(op.nn.conv1d(y, w, padding=(1, 1)))))
        return op.nn.conv1d(emit(op.add(hidden, const(np.ones((4, 1))))), w)

    mod = SignalsAsImages()(Conv1dAsConv2d()(of_signal(body)))
    made = {b.var: b.value for block in mod["main"].body.blocks for b in block.bindings}
    _, second = calls(mod, "relax.nn.conv2d")
    add = made[second.args[0]]
    first = made[made[add.args[0]].args[0]]
    assert [str(call.op.name) for call in (add, first)] == ["relax.add", "relax.nn.conv2d"]


def test_names_the_layer():
    mod = SignalsAsImages()(of_signal(lambda emit, s, y: emit(op.abs(s), name_hint="size")))
    names = {str(b.var.name): b.value for block in mod["main"].body.blocks for b in block.bindings}
    assert str(names["size"].op.name) == "relax.abs"


NEAR_MISSES = {
    "another_reshape": lambda emit, x: op.abs(emit(op.reshape(x, (2, 6, 4)))),
    "more_axes": lambda emit, x: op.add(emit(op.reshape(x, (2, 4, 6))), const(np.ones((1,) * 4))),
    "more_dropped": lambda emit, x: op.abs(emit(op.reshape(x, (8, 6)))),
    "another_order": lambda emit, x: op.permute_dims(emit(op.reshape(x, (2, 4, 6))), [1, 0, 2]),
    "another_operator": lambda emit, x: op.cumsum(emit(op.reshape(x, (2, 4, 6))), 2),
    "images": lambda emit, x: op.abs(x),
}


@pytest.mark.parametrize("case", NEAR_MISSES)
def test_leaves_alone(case):
    mod = module(NEAR_MISSES[case], (X.shape, "float32"))
    assert_same(SignalsAsImages()(mod), mod)


def test_a_batch_of_one_is_no_unit_axis():
    def body(emit, x):
        return op.abs(emit(op.reshape(x, (4, 6, 2))))

    mod = module(body, ((1, 4, 6, 2), "float32"))
    assert_same(SignalsAsImages()(mod), mod)
