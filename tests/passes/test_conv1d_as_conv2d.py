import numpy as np
import pytest
from tvm import relax
from tvm.relax.op import nn

from qcompile.passes.conv1d_as_conv2d import Conv1dAsConv2d
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
