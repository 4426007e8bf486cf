import numpy as np
import pytest
from tvm import relax
from tvm.relax.op import nn

from qcompile.ops import conv2d, dense
from qcompile.passes.integer_bias import IntegerBias
from qcompile.passes.integer_conv2d import IntegerConv2d
from qcompile.passes.integer_matmul import IntegerMatmul
from qcompile.passes.integer_weights import INT32_MAX
from tests.passes import references
from tests.passes.modules import (
    assert_same,
    attribute,
    calls,
    const,
    constants,
    dequantized,
    module,
    operators,
    run,
)

RNG = np.random.default_rng(0)
W = RNG.integers(-128, 128, (4, 3)).astype("int8")
X = RNG.integers(0, 256, (2, 3), dtype="uint8")
SUMS = (X.astype("int64") - 7) @ W.T.astype("int64")
SCALES = np.float32([0.5, 0.25, 2, 1])
BIAS = np.array([-(2**29), 0, 3, 2**29])


def layer(emit, x, bias=(0, 0, 0, 0), scale=SCALES):
    """dequantize(x @ w + bias)."""
    product = dense(
        x,
        relax.const(W),
        const(bias, "int32"),
        zero_point=7,
        bits=(8, 8),
        codes=(0, 1),
        layer="/fc",
    )
    return emit(dequantized(emit(product), scale, axis=1))


def added(bias, scale=SCALES, first=False, present=(0, 0, 0, 0)):
    """The layer plus a bias that bias(emit) makes."""

    def body(emit, x):
        pair = [layer(emit, x, present, scale), bias(emit)]
        return relax.op.add(*(reversed(pair) if first else pair))

    return module(body, (X.shape, "uint8"))


def integers(values, scale=SCALES, zero=0, shape=(4,), axis=0):
    codes = np.asarray(values, "int32").reshape(shape)
    return lambda emit: emit(dequantized(codes, scale, zero, axis=axis))


@pytest.mark.parametrize("first", [False, True], ids=["right", "left"])
@pytest.mark.parametrize("shape", [(4,), (1, 4)])
def test_adds_integers(first, shape):
    mod = IntegerBias()(added(integers(BIAS, shape=shape, axis=len(shape) - 1), first=first))
    assert operators(mod) == ["dense", "dequantize"]
    (call,) = calls(mod, "qcompile.dense")
    np.testing.assert_array_equal(constants(call)[1], BIAS)
    assert attribute(call, "layer") == "/fc"
    assert attribute(call, "zero_point") == 7
    expected = (SUMS + BIAS).astype("float32") * SCALES
    np.testing.assert_array_equal(run(mod, X), expected)


def test_adds_to_a_bias_that_is_there():
    mod = IntegerBias()(added(integers([1, 2, 3, 4]), present=(10, 20, 30, -40)))
    (call,) = calls(mod, "qcompile.dense")
    np.testing.assert_array_equal(constants(call)[1], [11, 22, 33, -36])


@pytest.mark.parametrize("values", [[1.5, -0.75, 0, 3], [[0.5, 0.5, 0, -1]], 2.0])
def test_adds_floats_that_are_whole_multiples(values):
    mod = IntegerBias()(added(lambda emit: const(values)))
    assert operators(mod) == ["dense", "dequantize"]
    np.testing.assert_array_equal(run(mod, X), (SUMS * SCALES + np.float32(values)))


def test_behind_a_convolution():
    w = W.reshape(4, 1, 1, 3)
    geometry = {"strides": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1}

    def body(emit, x):
        product = conv2d(
            x,
            relax.const(w),
            const(np.zeros(4), "int32"),
            zero_point=7,
            bits=(8, 8),
            codes=(0, 1),
            layer="conv",
            **geometry,
        )
        y = emit(dequantized(emit(product), SCALES, axis=3))
        return relax.op.add(y, integers(BIAS, shape=(1, 1, 1, 4), axis=3)(emit))

    mod = IntegerBias()(module(body, ((1, 2, 1, 3), "uint8")))
    assert operators(mod) == ["conv2d", "dequantize"]
    expected = (SUMS + BIAS).astype("float32") * SCALES
    np.testing.assert_array_equal(run(mod, X.reshape(1, 2, 1, 3)), expected.reshape(1, 2, 1, 4))


UNSIGNED = RNG.integers(0, 256, W.shape).astype("uint8")
ZEROS = {"one_zero": 131, "zeros_per_column": np.array([0, 128, 255, 77], "uint8")}


@pytest.mark.parametrize("zero", ZEROS.values(), ids=ZEROS)
def test_behind_a_product_of_weights_with_zeros(zero):
    def body(emit, x):
        a = emit(dequantized(x, 0.5, 7))
        w = emit(dequantized(np.ascontiguousarray(UNSIGNED.T), SCALES, zero, axis=1))
        y = emit(relax.op.matmul(a, w), name_hint="fc")
        return relax.op.add(y, integers(BIAS, scale=SCALES / 2)(emit))

    mod = IntegerBias()(IntegerMatmul()(module(body, (X.shape, "uint8"))))
    assert "add" not in operators(mod)
    weights = UNSIGNED.astype("int64").T - np.asarray(zero, "int64")
    sums = (X.astype("int64") - 7) @ weights + BIAS
    np.testing.assert_array_equal(run(mod, X), sums.astype("float32") * (SCALES / 2))


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_behind_a_convolution_of_weights_with_zeros(groups):
    rng = np.random.default_rng(groups)
    x = rng.integers(0, 256, (1, 4, 5, 4), dtype="uint8")
    w = rng.integers(0, 256, (4, 4 // groups, 3, 3), dtype="uint8")

    def body(emit, data):
        image = emit(dequantized(data, 0.5, 7))
        y = nn.conv2d(
            image,
            emit(dequantized(w, 0.25, 131)),
            padding=(1, 1),
            groups=groups,
            data_layout="NHWC",
            kernel_layout="OIHW",
        )
        bias = integers(BIAS, 0.125, shape=(1, 1, 1, 4), axis=3)(emit)
        return relax.op.add(emit(y), bias)

    mod = IntegerBias()(IntegerConv2d()(module(body, (x.shape, "uint8"))))
    assert "add" not in operators(mod)
    kernel = w.transpose(0, 2, 3, 1).astype("int64") - 131
    sums = references.conv2d(x.astype("int64") - 7, kernel, padding=(1, 1, 1, 1), groups=groups)
    np.testing.assert_array_equal(run(mod, x), (sums + BIAS).astype("float32") * 0.125)


def test_a_scale_that_float32_rounded():
    """The bias' scale is the float32 product of two scales; the accumulator's may be its
    neighbour."""
    neighbours = np.nextafter(SCALES, np.float32(np.inf))
    mod = IntegerBias()(added(integers([1, 2, 3, 4], scale=neighbours)))
    assert operators(mod) == ["dense", "dequantize"]


def test_a_dead_channel():
    """Scale 0: the sums do not matter, and neither do warnings about 0 / 0."""
    scale = np.float32([0.5, 0, 2, 1])
    with np.errstate(all="raise"):
        mod = IntegerBias()(added(lambda emit: const([1, 0, 2, 3]), scale=scale))
        still = IntegerBias()(added(lambda emit: const([1, 1, 2, 3]), scale=scale))
    bias = np.float32([1, 0, 2, 3])
    np.testing.assert_array_equal(run(mod, X), SUMS.astype("float32") * scale + bias)
    bias = np.float32([1, 1, 2, 3])
    np.testing.assert_array_equal(run(still, X), SUMS.astype("float32") * scale + bias)


def shared(emit, x):
    y = layer(emit, x)
    return [y, emit(relax.op.add(y, integers(BIAS)(emit)))]


def computed(emit, x):
    return relax.op.add(layer(emit, x), emit(relax.op.mean(layer(emit, x), 0)))


def behind_something_else(emit, x):
    y = emit(dequantized(emit(relax.op.astype(x, "int32")), 0.5))
    return relax.op.add(y, integers([1, 2, 3], 0.5, shape=(3,))(emit))


def minus_something_else(emit, x):
    """Integers of the model's own, about whose range nothing is proved."""
    none, widths = const([0] * 4, "int32"), {"bits": (8, 8), "codes": (0, 1)}
    product = dense(x, relax.const(W), none, zero_point=7, layer="fc", **widths)
    sums = emit(relax.op.subtract(emit(product), const([1, 2, 3, 4], "int32")))
    return relax.op.add(emit(dequantized(sums, 0.5)), integers([1, 2, 3, 4], 0.5)(emit))


def rows(emit):
    return emit(dequantized(np.array([[1], [2]], "int32"), np.float32([0.5, 0.5]), axis=0))


NEAR_MISSES = {
    "not_whole": added(lambda emit: const([0.6, 0, 0, 0])),
    "other_scale": added(integers([1, 2, 3, 4], scale=SCALES * np.float32(1.001))),
    "scale_of_its_own": added(integers([1, 2, 3, 4], scale=0.5)),
    "zero_point": added(integers([1, 2, 3, 4], zero=5)),
    "rows": added(rows, scale=0.5),
    "too_large": added(integers([INT32_MAX // 2 + 1, 0, 0, 0])),
    "too_large_floats": added(lambda emit: const([1e30, 0, 0, 0])),
    "too_large_together": added(
        integers([INT32_MAX // 2, 0, 0, 0]), present=(INT32_MAX // 2, 0, 0, 0)
    ),
    "infinite": added(lambda emit: const([np.inf, 0, 0, 0])),
    "broadcast": added(lambda emit: const(np.ones((3, 1, 4)))),
    "shared": module(shared, (X.shape, "uint8")),
    "computed": module(computed, (X.shape, "uint8")),
    "minus_something_else": module(minus_something_else, (X.shape, "uint8")),
    "other_sums": module(behind_something_else, (X.shape, "uint8")),
}


@pytest.mark.parametrize("case", NEAR_MISSES)
@pytest.mark.filterwarnings("error")
def test_leaves_alone(case):
    assert_same(IntegerBias()(NEAR_MISSES[case]), NEAR_MISSES[case])
