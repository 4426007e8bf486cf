import numpy as np
import pytest
from tvm import relax
from tvm.relax.op import nn

from qcompile.passes.channels_last import ChannelsLast
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
SHAPE = (2, 3, 5, 4)  # no two axes alike
X = RNG.integers(-4, 5, SHAPE).astype("float32")
W = RNG.integers(-4, 5, (6, 3, 2, 2)).astype("float32")
# Integers, so that float32 sums are exact in any order: (2, 6, 4, 3).
Y = references.first(references.conv2d(references.last(X), references.last(W))).astype("float32")
CHANNELS = np.arange(1, 7, dtype="float32")


def behind(operator):
    """operator(conv2d(x, w))."""

    def body(emit, x):
        return operator(emit, emit(nn.conv2d(x, const(W)), name_hint="/conv"))

    return module(body, (SHAPE, "float32"))


def transposes(mod):
    return [attribute_axes(call) for call in calls(mod, "relax.permute_dims")]


def attribute_axes(call):
    return [int(axis) for axis in call.attrs.axes]


IN, OUT = [0, 2, 3, 1], [0, 3, 1, 2]


def test_computes_images_channels_last():
    mod = ChannelsLast()(behind(lambda emit, y: y))
    assert operators(mod) == ["permute_dims", "conv2d", "permute_dims"]
    assert transposes(mod) == [IN, OUT]
    (conv,) = calls(mod, "relax.nn.conv2d")
    assert (str(conv.attrs.data_layout), str(conv.attrs.kernel_layout)) == ("NHWC", "OIHW")
    np.testing.assert_array_equal(run(mod, X), Y)


def test_keeps_the_names_of_layers():
    mod = ChannelsLast()(behind(lambda emit, y: nn.relu(y)))
    names = [str(b.var.name) for block in mod["main"].body.blocks for b in block.bindings]
    assert "/conv" in names


def softmax(x, axis):
    exponential = np.exp(x - x.max(axis, keepdims=True))
    return exponential / exponential.sum(axis, keepdims=True)


def windows(x, rows, columns):
    return np.lib.stride_tricks.sliding_window_view(x, (rows, columns), (2, 3))


def padded(mode, **options):
    widths = [0, 0, 1, 2, 0, 1, 2, 0]
    numpy_widths = ((0, 0), (1, 2), (0, 1), (2, 0))
    return (
        lambda emit, y: nn.pad(y, widths, pad_mode=mode, **options),
        lambda y: np.pad(y, numpy_widths, mode={"replicate": "edge"}.get(mode, mode)),
    )


FOLLOWERS = {
    "relu": (lambda emit, y: nn.relu(y), lambda y: np.maximum(y, 0)),
    "leakyrelu": (
        lambda emit, y: nn.leakyrelu(y, 0.25),
        lambda y: np.where(y > 0, y, y * np.float32(0.25)),
    ),
    "clip": (lambda emit, y: relax.op.clip(y, -3, 6), lambda y: y.clip(-3, 6)),
    "astype": (lambda emit, y: relax.op.astype(y, "int32"), lambda y: y.astype("int32")),
    "add_channels": (
        lambda emit, y: relax.op.add(y, const(CHANNELS.reshape(6, 1, 1))),
        lambda y: y + CHANNELS.reshape(6, 1, 1),
    ),
    "constant_first": (
        lambda emit, y: relax.op.subtract(const(CHANNELS.reshape(1, 6, 1, 1)), y),
        lambda y: CHANNELS.reshape(1, 6, 1, 1) - y,
    ),
    "columns": (
        lambda emit, y: relax.op.multiply(y, const([1, 2, 3])),
        lambda y: y * np.float32([1, 2, 3]),
    ),
    "one_value": (lambda emit, y: relax.op.divide(y, const([[2]])), lambda y: y / 2),
    "itself": (lambda emit, y: relax.op.multiply(y, y), lambda y: y * y),
    "where": (
        lambda emit, y: relax.op.where(
            emit(relax.op.greater(y, const(2.0))), y, const(-CHANNELS.reshape(6, 1, 1))
        ),
        lambda y: np.where(y > 2, y, -CHANNELS.reshape(6, 1, 1)),
    ),
    "max_pool2d": (
        lambda emit, y: nn.max_pool2d(y, (2, 3), (2, 1), (0, 1, 0, 0)),
        lambda y: windows(
            np.pad(y, ((0, 0), (0, 0), (0, 0), (1, 0)), constant_values=-np.inf), 2, 3
        )[:, :, ::2].max((4, 5)),
    ),
    "avg_pool2d": (
        lambda emit, y: nn.avg_pool2d(y, (2, 2), (1, 1)),
        lambda y: windows(y, 2, 2).mean((4, 5)),
    ),
    "adaptive_avg_pool2d": (
        lambda emit, y: nn.adaptive_avg_pool2d(y, (2, 1)),
        lambda y: y.reshape(2, 6, 2, 2, 1, 3).mean((3, 5)),
    ),
    "adaptive_to_its_own_size": (lambda emit, y: nn.adaptive_avg_pool2d(y), lambda y: y),
    "concat": (
        lambda emit, y: relax.op.concat([y, emit(relax.op.negative(y)), const(Y[:, :1])], 1),
        lambda y: np.concatenate([y, -y, y[:, :1]], 1),
    ),
    "concat_rows": (
        lambda emit, y: relax.op.concat([y, y], -2),
        lambda y: np.concatenate([y, y], 2),
    ),
    "strided_slice": (
        lambda emit, y: relax.op.strided_slice(y, [1, -1], [0, -2], [5, 3], [2, 1]),
        lambda y: y[:, 0:5:2, :, -2:3],
    ),
    "strided_slice_without_strides": (
        lambda emit, y: relax.op.strided_slice(y, [1], [1], [4]),
        lambda y: y[:, 1:4],
    ),
    "pad": padded("constant"),
    "replicated": padded("replicate"),
    "reflected": padded("reflect"),
    "prelu": (
        lambda emit, y: nn.prelu(y, const(CHANNELS), 1),
        lambda y: np.where(y > 0, y, y * CHANNELS.reshape(6, 1, 1)),
    ),
    "mean": (
        lambda emit, y: relax.op.mean(y, [2, 3], keepdims=True),
        lambda y: y.mean((2, 3), keepdims=True),
    ),
    "sum_of_channels": (
        lambda emit, y: relax.op.sum(y, [-3], keepdims=True),
        lambda y: y.sum(1, keepdims=True),
    ),
    "max_of_all": (lambda emit, y: relax.op.max(y, keepdims=True), lambda y: y.max(keepdims=True)),
    "resize2d": (
        lambda emit, y: relax.op.image.resize2d(
            y,
            (8, 9),
            method="nearest_neighbor",
            coordinate_transformation_mode="asymmetric",
            rounding_method="floor",
        ),
        lambda y: y.repeat(2, 2).repeat(3, 3),
    ),
    "conv2d": (
        lambda emit, y: nn.conv2d(
            y, const(W[:, :2]), strides=(1, 2), padding=(1, 0, 0, 2), dilation=(2, 1), groups=3
        ),
        lambda y: references.first(
            references.conv2d(
                references.last(y.astype("int64")),
                references.last(W[:, :2].astype("int64")),
                strides=(1, 2),
                padding=(1, 0, 0, 2),
                dilation=(2, 1),
                groups=3,
            )
        ),
    ),
}


@pytest.mark.parametrize("case", FOLLOWERS)
def test_followers(case):
    operator, expected = FOLLOWERS[case]
    mod = ChannelsLast()(behind(operator))
    assert transposes(mod) == [IN, OUT]
    np.testing.assert_array_equal(run(mod, X), expected(Y))


@pytest.mark.parametrize("axis", [1, -1])
def test_softmax(axis):
    mod = ChannelsLast()(behind(lambda emit, y: nn.softmax(y, axis)))
    assert transposes(mod) == [IN, OUT]
    # The exponentials are summed in another order.
    np.testing.assert_allclose(run(mod, X), softmax(Y, axis), rtol=1e-6)


REDUCTIONS = {
    "global_mean": ([2, 3], [IN]),
    "image": ([1, 2, 3], [IN]),
    "channels": ([1], [IN]),
    "all": (None, [IN]),
    "rows": ([2], [IN, OUT]),  # what is left has its channels before its columns
}


@pytest.mark.parametrize("case", REDUCTIONS)
def test_reductions_that_drop_axes(case):
    axes, expected = REDUCTIONS[case]
    mod = ChannelsLast()(behind(lambda emit, y: relax.op.sum(y, axes)))
    assert transposes(mod) == expected
    np.testing.assert_array_equal(run(mod, X), Y.sum(None if axes is None else tuple(axes)))


@pytest.mark.parametrize("sections", [3, [1, 4]])
@pytest.mark.parametrize("axis", [1, -2])
def test_split(sections, axis):
    sections = [2, 3] if axis == -2 and sections == 3 else sections
    sections = [1, 3] if axis == -2 and sections == [1, 4] else sections

    def operator(emit, y):
        parts = emit(relax.op.split(y, sections, axis))
        return [emit(relax.TupleGetItem(parts, i)) for i in range(3)]

    mod = ChannelsLast()(behind(operator))
    assert transposes(mod) == [IN, OUT, OUT, OUT]
    for found, expected in zip(run(mod, X), np.split(Y, sections, axis), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("axis", [1, -1])
def test_quantize_and_dequantize(axis):
    scale = np.arange(1, Y.shape[axis] + 1) / 2
    zero = 20 + np.arange(Y.shape[axis])

    def operator(emit, y):
        codes = emit(quantized(y, scale, zero, axis=axis, bits=6))
        return dequantized(codes, scale, zero, axis=axis, bits=6)

    mod = ChannelsLast()(behind(operator))
    assert transposes(mod) == [IN, OUT]
    for call in calls(mod, "qcompile.quantize", "qcompile.dequantize"):
        assert attribute(call, "axis") == {1: 3, -1: 2}[axis]
        assert attribute(call, "bits") == 6
    spread = [-1 if i == axis % 4 else 1 for i in range(4)]
    scale, zero = scale.reshape(spread), zero.reshape(spread)
    codes = references.codes(Y, scale.astype("float32"), zero, 0, 63)
    np.testing.assert_array_equal(run(mod, X), references.values(codes, scale, zero))


def test_residuals_keep_one_layout():
    def body(emit, x):
        y = emit(nn.conv2d(x, const(W)))
        z = emit(nn.relu(y))
        pooled = emit(nn.max_pool2d(z, (1, 1)))
        return [emit(relax.op.add(pooled, y)), emit(relax.op.add(z, x_like(emit, x)))]

    def x_like(emit, x):
        return emit(relax.op.mean(x, [1, 2, 3], keepdims=True))

    mod = ChannelsLast()(module(body, (SHAPE, "float32")))
    first, second = run(mod, X)
    assert transposes(mod).count(OUT) == 2
    np.testing.assert_array_equal(first, np.maximum(Y, 0) + Y)
    # The mean of 60 integers, divided or multiplied by the reciprocal.
    mean = X.mean((1, 2, 3), keepdims=True)
    np.testing.assert_allclose(second, np.maximum(Y, 0) + mean, rtol=1e-6)


def test_images_of_one_pixel_are_flattened_in_place():
    operator = lambda emit, y: relax.op.reshape(  # noqa: E731
        emit(nn.adaptive_avg_pool2d(y, (1, 1))), (2, 6)
    )
    mod = ChannelsLast()(behind(operator))
    assert transposes(mod) == [IN]
    np.testing.assert_array_equal(run(mod, X), Y.mean((2, 3)))


def test_larger_images_are_transposed_before_flattening():
    mod = ChannelsLast()(behind(lambda emit, y: relax.op.reshape(y, (2, -1))))
    assert transposes(mod) == [IN, OUT]
    np.testing.assert_array_equal(run(mod, X), Y.reshape(2, -1))


def test_composes_the_models_own_transposes():
    """A model that works channels last at its border."""
    shape = [SHAPE[axis] for axis in IN]

    def body(emit, x):
        y = emit(nn.conv2d(emit(relax.op.permute_dims(x, OUT)), const(W)))
        return relax.op.permute_dims(y, IN)

    mod = ChannelsLast()(module(body, (shape, "float32")))
    assert transposes(mod) == []
    np.testing.assert_array_equal(run(mod, references.last(X).copy()), references.last(Y))


def test_a_computed_operand_of_lower_rank():
    def body(emit, x, bias):
        return relax.op.add(emit(nn.conv2d(x, const(W))), bias)

    mod = ChannelsLast()(module(body, (SHAPE, "float32"), ((4, 1), "float32")))
    bias = np.float32([[1], [2], [3], [4]])
    np.testing.assert_array_equal(run(mod, X, bias), Y + bias)


def test_shared_images_are_transposed_once():
    def body(emit, x):
        return [emit(nn.conv2d(x, const(W))), emit(nn.max_pool2d(x, (1, 1)))]

    mod = ChannelsLast()(module(body, (SHAPE, "float32")))
    assert transposes(mod).count(IN) == 1


def test_twice_is_once():
    mod = ChannelsLast()(behind(lambda emit, y: nn.max_pool2d(y, (2, 2))))
    assert_same(ChannelsLast()(mod), mod)


def channels_last_already(emit, x):
    y = emit(nn.conv2d(x, const(RNG.normal(size=(2, 4, 1, 1))), data_layout="NHWC"))
    y = emit(nn.max_pool2d(y, (2, 2), layout="NHWC"))
    y = emit(nn.avg_pool2d(y, (1, 1), layout="NHWC"))
    return nn.adaptive_avg_pool2d(y, (1, 1), layout="NHWC")


NEAR_MISSES = {
    "other_layouts": module(channels_last_already, (SHAPE, "float32")),
    "other_weights": module(
        lambda emit, x: nn.conv2d(x, const(np.ones((2, 2, 3, 6))), kernel_layout="HWIO"),
        (SHAPE, "float32"),
    ),
    "no_images": module(
        lambda emit, x: nn.relu(emit(relax.op.permute_dims(x, [0, 2, 1, 3]))), (SHAPE, "float32")
    ),
    "rank_5": module(
        lambda emit, x, y: relax.op.add(emit(relax.op.permute_dims(x, OUT)), y),
        (SHAPE, "float32"),
        ((7, 1, 1, 1, 1), "float32"),
    ),
    "bound_tuple": module(
        lambda emit, x: relax.op.concat(emit(relax.op.split(x, 2, 3)), 0), (SHAPE, "float32")
    ),
    "resize_of_another_layout": module(
        lambda emit, x: relax.op.image.resize2d(
            emit(relax.op.permute_dims(x, OUT)), (6, 6), layout="NHWC", method="nearest_neighbor"
        ),
        (SHAPE, "float32"),
    ),
}


@pytest.mark.parametrize("case", NEAR_MISSES)
def test_leaves_alone(case):
    assert_same(ChannelsLast()(NEAR_MISSES[case]), NEAR_MISSES[case])


def test_keeps_the_type_of_integer_convolutions():
    w = (W * 31).astype("int8")

    def body(emit, x):
        return nn.conv2d(x, relax.const(w), out_dtype="int32")

    mod = ChannelsLast()(module(body, (SHAPE, "int8")))
    assert operators(mod) == ["permute_dims", "conv2d", "permute_dims"]
    sums = run(mod, (X * 31).astype("int8"))
    assert sums.dtype == np.int32
    np.testing.assert_array_equal(sums, Y.astype("int32") * 31 * 31)
