import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.relax.op import nn

from qcompile.passes.channels_last import ChannelsLast
from qcompile.passes.conv1d_as_conv2d import Conv1dAsConv2d
from qcompile.passes.fold_affine import FoldAffine
from qcompile.passes.fold_batch_norm import FoldBatchNorm
from qcompile.passes.sink_dequantize import SinkDequantize
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
X = RNG.integers(-9, 10, (2, 4, 11)).astype("float32")
W = RNG.integers(-9, 10, (6, 2, 3)).astype("float32")
SIGNAL = (X.shape, "float32")


def convolved(x, w, strides, padding, dilation, groups):
    image, kernel = x[:, :, None].transpose(0, 2, 3, 1), w[:, :, None].transpose(0, 2, 3, 1)
    left, right = padding
    result = references.conv2d(
        image,
        kernel,
        strides=(1, strides),
        padding=(0, left, 0, right),
        dilation=(1, dilation),
        groups=groups,
    )
    return result[:, 0].transpose(0, 2, 1)


@pytest.mark.parametrize(("strides", "padding", "dilation"), [(1, (0, 0), 1), (2, (1, 3), 2)])
def test_convolutions_keep_the_numbers(strides, padding, dilation):
    def body(emit, x):
        options = {"strides": strides, "padding": padding, "dilation": dilation, "groups": 2}
        return nn.conv1d(x, const(W), **options)

    mod = Conv1dAsConv2d()(module(body, SIGNAL))
    (conv,) = calls(mod, "relax.nn.conv2d")
    assert [int(pad) for pad in conv.attrs.padding] == [0, padding[0], 0, padding[1]]
    # Exact: sums of small integers.
    np.testing.assert_array_equal(run(mod, X), convolved(X, W, strides, padding, dilation, 2))


def windows(x, value):
    edges = np.pad(x, ((0, 0), (0, 0), (1, 1)), constant_values=value)
    return np.lib.stride_tricks.sliding_window_view(edges, 3, 2)[:, :, ::2]


POOLS = {
    "max": (lambda x: nn.max_pool1d(x, 3, 2, (1, 1)), windows(X, -np.inf).max(3)),
    "average": (
        lambda x: nn.avg_pool1d(x, 3, 2, (1, 1), count_include_pad=False),
        windows(X, 0).sum(3, dtype="float32") / windows(np.ones_like(X), 0).sum(3),
    ),
    "average_with_the_border": (
        lambda x: nn.avg_pool1d(x, 3, 2, (1, 1), count_include_pad=True),
        windows(X, 0).sum(3, dtype="float32") / np.float32(3),
    ),
}


@pytest.mark.parametrize("case", POOLS)
def test_pools_keep_the_numbers(case):
    operator, expected = POOLS[case]
    mod = Conv1dAsConv2d()(module(lambda emit, x: operator(x), SIGNAL))
    assert operators(mod)[1] in ("max_pool2d", "avg_pool2d")
    # One division or product by the reciprocal, rounded once.
    np.testing.assert_allclose(run(mod, X), expected, rtol=1e-6)


def test_quantized_weights_stay_constant_codes():
    codes = RNG.integers(-128, 128, W.shape).astype("int8")
    scale = np.arange(1, 7, dtype="float32")

    def body(emit, x):
        w = emit(dequantized(codes, scale, axis=0))
        return nn.conv1d(x, w, groups=2)

    mod = SinkDequantize()(Conv1dAsConv2d()(module(body, SIGNAL)))
    (w,) = calls(mod, "qcompile.dequantize")
    assert attribute(w, "axis") == 0
    assert [int(extent) for extent in w.args[0].ty.shape] == [6, 2, 1, 3]


def test_names_the_layer():
    mod = Conv1dAsConv2d()(
        module(lambda emit, x: emit(nn.conv1d(x, const(W), groups=2), name_hint="conv"), SIGNAL)
    )
    names = {str(b.var.name): b.value for block in mod["main"].body.blocks for b in block.bindings}
    assert str(names["conv"].op.name) == "relax.nn.conv2d"


def product(x):
    """A convolution of 4 channels with kernels of one column: sums of small integers."""
    return nn.conv1d(x, const(W[:, :, :1]), groups=2)


PRODUCT = convolved(X, W[:, :, :1], 1, (0, 0), 1, 2).astype("float32")
BIAS = np.arange(-3, 3, dtype="float32")[:, None]
SLOPES = np.float32([0.5, 0.25, -1, 2, 0, 1])[:, None]
FOLLOWERS = {
    "bias": (lambda emit, y: relax.op.add(y, const(BIAS)), PRODUCT + BIAS),
    "single": (lambda emit, y: relax.op.multiply(const(2.0), y), 2 * PRODUCT),
    "columns": (lambda emit, y: relax.op.add(y, const(np.arange(11.0))), PRODUCT + np.arange(11)),
    "clip": (lambda emit, y: relax.op.clip(y, -5, 9), PRODUCT.clip(-5, 9)),
    "itself": (lambda emit, y: relax.op.multiply(y, y), PRODUCT**2),
    "prelu": (
        lambda emit, y: nn.prelu(y, const(SLOPES[:, 0]), 1),
        np.where(PRODUCT > 0, PRODUCT, PRODUCT * SLOPES),
    ),
    "mean": (
        lambda emit, y: relax.op.mean(emit(relax.op.multiply(y, const(11.0))), [2], True),
        PRODUCT.sum(2, keepdims=True),
    ),
    "concat": (
        lambda emit, y: relax.op.concat([y, emit(nn.relu(y))], -1),
        np.concatenate([PRODUCT, PRODUCT.clip(0)], 2),
    ),
    "quantizers": (
        lambda emit, y: dequantized(
            emit(quantized(y, np.ones(6), np.zeros(6), axis=1)), SLOPES[:, 0], axis=1
        ),
        PRODUCT.clip(0, 255) * SLOPES,
    ),
    "flatten": (lambda emit, y: relax.op.reshape(y, (2, 66)), PRODUCT.reshape(2, 66)),
}


@pytest.mark.parametrize("case", FOLLOWERS)
def test_followers_compute_images(case):
    """Signals come back once, at the end; the numbers are whole, so equal."""
    follow, expected = FOLLOWERS[case]
    mod = Conv1dAsConv2d()(module(lambda emit, x: follow(emit, emit(product(x))), SIGNAL))
    assert operators(mod).count("reshape") == 2  # the data, the result
    assert operators(mod)[-1] == "reshape"
    np.testing.assert_array_equal(run(mod, X), expected)


def test_followers_of_another_signal():
    def body(emit, x, y):
        return relax.op.add(y, emit(product(x)))

    mod = Conv1dAsConv2d()(module(body, SIGNAL, (PRODUCT.shape, "float32")))
    (total,) = calls(mod, "relax.add")
    assert len(total.ty.shape) == 4
    np.testing.assert_array_equal(run(mod, X, PRODUCT), 2 * PRODUCT)


def test_images_that_broadcast_to_a_higher_rank_stay_signals():
    higher = np.ones((3, *PRODUCT.shape), "float32")
    mod = Conv1dAsConv2d()(
        module(lambda emit, x: relax.op.add(emit(product(x)), const(higher)), SIGNAL)
    )
    np.testing.assert_array_equal(run(mod, X), higher + PRODUCT)


@pytest.mark.parametrize("first", ["conv1d", "conv2d"])
def test_batch_norms_go_into_the_weights(first):
    """The same way for signals as for images."""
    rng = np.random.default_rng(1)
    gamma, beta, mean = rng.normal(size=(3, 6)).astype("float32")
    variance = rng.uniform(0.5, 2, 6).astype("float32")
    signal = first == "conv1d"
    w = W if signal else W[:, :, None]

    def body(emit, x):
        convolution = nn.conv1d if signal else nn.conv2d
        y = emit(convolution(x, const(w), groups=2))
        values = [const(v) for v in (gamma, beta, mean, variance)]
        norm = emit(nn.batch_norm(y, *values, axis=1, training=False))
        return emit(nn.relu(emit(relax.TupleGetItem(norm, 0))))

    x = X if signal else X[:, :, None]
    passes = [FoldBatchNorm(), Conv1dAsConv2d(), ChannelsLast(), FoldAffine()]
    mod = tvm.transform.Sequential(passes)(module(body, (x.shape, "float32")))
    assert "multiply" not in operators(mod)
    sums = convolved(X, W, 1, (0, 0), 1, 2)
    factor = gamma / np.sqrt(variance.astype("float64") + 1e-5)
    real = (sums - mean[:, None]) * factor[:, None] + beta[:, None]
    expected = np.maximum(real, 0).reshape(run(mod, x).shape)
    # Float32 sums of 6 products of up to 9 * 9 * 3.
    np.testing.assert_allclose(run(mod, x), expected, rtol=1e-5, atol=1e-3)


NEAR_MISSES = {
    "channels_last": lambda x: nn.conv1d(x, const(np.ones((3, 11, 1))), data_layout="NWC"),
    "other_weights": lambda x: nn.conv1d(x, const(np.ones((1, 4, 3))), kernel_layout="WIO"),
    "pool_channels_last": lambda x: nn.max_pool1d(x, 3, layout="NWC"),
    "other_operator": lambda x: relax.op.mean(x, 1),
}


@pytest.mark.parametrize("case", NEAR_MISSES)
def test_leaves_alone(case):
    mod = module(lambda emit, x: NEAR_MISSES[case](x), SIGNAL)
    assert_same(Conv1dAsConv2d()(mod), mod)
