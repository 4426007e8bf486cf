import numpy as np
import pytest
from tvm import relax
from tvm.relax.op import nn

from qcompile.passes.integer_pool import MAX_POSITIONS, IntegerPool
from qcompile.passes.requantize import Requantize
from tests.passes import references
from tests.passes.modules import (
    assert_same,
    attribute,
    calls,
    dequantized,
    module,
    operators,
    quantized,
    run,
)

RNG = np.random.default_rng(0)
SHAPE = (2, 7, 6, 3)
SCALE = np.float32(0.3)


def behind(operator, dtype="uint8", zero=3, scale=SCALE, shape=SHAPE, **attributes):
    """operator(dequantize(x)), channels last."""

    def body(emit, x):
        return operator(emit(dequantized(x, scale, zero, **attributes)))

    return module(body, (shape, dtype))


def pooled(kernel, strides=(1, 1), padding=(0, 0, 0, 0), dilation=(1, 1), **options):
    return lambda x: nn.avg_pool2d(x, kernel, strides, padding, dilation, layout="NHWC", **options)


def windows(image, outputs, kernel, strides, padding, dilation):
    """(N, OH, OW, C, KH * KW) with NaN outside the image."""
    rows, columns = (
        np.arange(outputs[i])[:, None] * strides[i]
        + np.arange(kernel[i]) * dilation[i]
        - padding[i]
        for i in (0, 1)
    )
    reach = max(abs(rows).max(), abs(columns).max()) + 1
    edge = np.pad(
        image.astype("float64"),
        ((0, 0), (reach, reach), (reach, reach), (0, 0)),
        constant_values=np.nan,
    )
    taken = edge[:, rows + reach][:, :, :, columns + reach]  # (N, OH, KH, OW, KW, C)
    return taken.transpose(0, 1, 3, 5, 2, 4).reshape(len(image), *outputs, image.shape[3], -1)


def random_codes(dtype, shape=SHAPE):
    info = np.iinfo(dtype)
    return RNG.integers(info.min, info.max + 1, shape).astype(dtype)


GEOMETRIES = {
    "plain": ((2, 3), (2, 1), (0, 0, 0, 0), (1, 1), (3, 4)),
    "whole": ((7, 6), (1, 1), (0, 0, 0, 0), (1, 1), (1, 1)),
    "dilation": ((2, 2), (1, 2), (0, 0, 0, 0), (3, 2), (4, 2)),
    "pads": ((3, 3), (2, 2), (1, 0, 2, 1), (1, 1), (4, 3)),
}


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize(("dtype", "zero"), [("uint8", 255), ("int8", -128), ("int8", 5)])
def test_averages_exact_sums(geometry, dtype, zero):
    kernel, strides, padding, dilation, outputs = GEOMETRIES[geometry]
    operator = pooled(kernel, strides, padding, dilation, count_include_pad=True)
    mod = IntegerPool()(behind(operator, dtype, zero))
    assert operators(mod) == ["sum_pool2d", "dequantize"]
    x = random_codes(dtype)
    centred = x.astype("int64") - zero
    sums = np.nansum(windows(centred, outputs, kernel, strides, padding, dilation), axis=-1)
    ratio = np.float32(float(SCALE) / (kernel[0] * kernel[1]))
    np.testing.assert_array_equal(run(mod, x), sums.astype("float32") * ratio)


BORDERS = {
    "image_only": (((3, 3), (2, 2), (1, 0, 2, 1)), (4, 3), False, False),
    "ceil": (((3, 4), (2, 3), (0, 0, 0, 0)), (3, 2), True, True),
    "ceil_and_pads": (((3, 3), (3, 2), (1, 1, 0, 0)), (3, 3), True, False),
    "ceil_with_counted_pads": (((3, 3), (2, 2), (1, 1, 1, 1)), (4, 4), True, True),
}


@pytest.mark.parametrize("case", BORDERS)
def test_windows_over_the_border(case):
    """count_include_pad counts the declared padding, not what ceil_mode adds: ONNX AveragePool."""
    (kernel, strides, padding), outputs, ceil, include = BORDERS[case]
    operator = pooled(kernel, strides, padding, ceil_mode=ceil, count_include_pad=include)
    before = behind(operator)
    mod = IntegerPool()(before)
    assert operators(mod)[0] == "sum_pool2d"
    x = random_codes("uint8")
    assert tuple(int(e) for e in before["main"].ret_ty.shape)[1:3] == outputs
    taken = windows(x.astype("int64") - 3, outputs, kernel, strides, padding, (1, 1))
    counted = np.pad(
        np.ones(SHAPE),
        ((0, 0), (padding[0], padding[2]), (padding[1], padding[3]), (0, 0)),
        constant_values=1 if include else np.nan,
    )
    counts = np.isfinite(windows(counted, outputs, kernel, strides, (0, 0, 0, 0), (1, 1))).sum(-1)
    expected = np.nansum(taken, axis=-1) / counts * float(SCALE)
    # Two factors, rounded to float32 one after the other.
    np.testing.assert_allclose(run(mod, x), expected, rtol=3e-7)


@pytest.mark.parametrize("case", BORDERS)
def test_codes_of_windows_over_the_border(case):
    """One requantize with a factor per position."""
    (kernel, strides, padding), outputs, ceil, include = BORDERS[case]
    operator = pooled(kernel, strides, padding, ceil_mode=ceil, count_include_pad=include)

    def codes(between):
        def body(emit, x):
            return quantized(between(emit(operator(emit(dequantized(x, SCALE, 3))))), 0.2, 9)

        return module(body, (SHAPE, "uint8"))

    mod = Requantize()(IntegerPool()(codes(nn.relu)))
    assert operators(mod) == ["sum_pool2d", "requantize"]
    x = random_codes("uint8")
    real = run(behind(operator), x)  # TVM's own average
    exact = np.maximum(real.astype("float64"), 0) / float(np.float32(0.2))
    assert run(mod, x).shape == (2, *outputs, 3)
    # Half a step from rounding, and float32 roundings of up to 400 steps.
    np.testing.assert_allclose(run(mod, x), np.clip(exact + 9, 0, 255), atol=0.5 + 1e-4)


@pytest.mark.parametrize("size", [(1, 1), (7, 3)])
def test_adaptive_pools_that_tile_the_image(size):
    mod = IntegerPool()(behind(lambda x: nn.adaptive_avg_pool2d(x, size, layout="NHWC")))
    assert operators(mod) == ["sum_pool2d", "dequantize"]
    x = random_codes("uint8")
    rows, columns = size
    tiles = (x.astype("int64") - 3).reshape(2, rows, 7 // rows, columns, 6 // columns, 3)
    ratio = np.float32(float(SCALE) * rows * columns / 42)
    np.testing.assert_array_equal(run(mod, x), tiles.sum((2, 4)).astype("float32") * ratio)


@pytest.mark.parametrize("keepdims", [True, False])
def test_means(keepdims):
    mod = IntegerPool()(behind(lambda x: relax.op.mean(x, [-2, 1], keepdims)))
    assert "mean" not in operators(mod)
    x = random_codes("uint8")
    sums = (x.astype("int64") - 3).sum((1, 2), keepdims=keepdims)
    ratio = np.float32(float(SCALE) / 42)
    np.testing.assert_array_equal(run(mod, x), sums.astype("float32") * ratio)


MEANS = {
    "channels_first": ((2, 5, 3, 4), [2, 3]),
    "signals": ((2, 5, 7), [2]),
    "volumes": ((2, 3, 2, 3, 4), [2, 3, 4]),
    "tokens": ((2, 7, 5), [1]),
    "all": ((2, 7, 5), None),
    "rows": ((6, 9), [-1]),
}


@pytest.mark.parametrize("case", MEANS)
@pytest.mark.parametrize("keepdims", [True, False])
@pytest.mark.parametrize(("dtype", "zero"), [("uint8", 131), ("int8", -128)])
def test_codes_of_means_over_other_axes(case, keepdims, dtype, zero):
    shape, axes = MEANS[case]

    def body(emit, x):
        mean = emit(relax.op.mean(emit(dequantized(x, SCALE, zero)), axes, keepdims))
        return quantized(mean, 0.05, 100)

    mod = Requantize()(IntegerPool()(module(body, (shape, dtype))))
    assert operators(mod) == ["astype", "sum", "requantize"]
    x = random_codes(dtype, shape)
    axes = tuple(range(len(shape))) if axes is None else tuple(axes)
    sums = (x.astype("int64") - zero).sum(axes, keepdims=keepdims)
    mean = np.float32(float(SCALE) * sums.size / x.size)
    ratio = np.float32(float(mean) / float(np.float32(0.05)))
    np.testing.assert_array_equal(run(mod, x), references.requantized(sums, ratio, 100, 0, 255))


def test_other_means_that_are_read_as_floats_stay():
    def body(emit, x):
        mean = emit(relax.op.mean(emit(dequantized(x, SCALE, 3)), [1], True))
        return [emit(quantized(mean, 0.05)), mean]

    mod = module(body, ((2, 5, 7), "uint8"))
    assert_same(IntegerPool()(mod), mod)


def test_keeps_the_scale_of_few_bits():
    mod = IntegerPool()(behind(pooled((2, 2)), bits=4, zero=8))
    (call,) = calls(mod, "qcompile.sum_pool2d")
    assert attribute(call, "zero_point") == 8


def wide(positions):
    return behind(lambda x: relax.op.mean(x, [1, 2]), shape=(1, positions, 1, 1), zero=0)


def test_sums_at_the_limit():
    assert "sum_pool2d" in operators(IntegerPool()(wide(MAX_POSITIONS)))
    assert MAX_POSITIONS * 255 <= 2**31 - 1
    assert_same(IntegerPool()(wide(MAX_POSITIONS + 1)), wide(MAX_POSITIONS + 1))


NEAR_MISSES = {
    "channels_first": behind(lambda x: nn.avg_pool2d(x, (2, 2))),
    "adaptive_channels_first": behind(lambda x: nn.adaptive_avg_pool2d(x, (1, 1))),
    "tiles_of_several_sizes": behind(lambda x: nn.adaptive_avg_pool2d(x, (2, 3), layout="NHWC")),
    "adaptive_to_its_own_size": behind(lambda x: nn.adaptive_avg_pool2d(x, layout="NHWC")),
    "windows_outside": behind(pooled((2, 2), padding=(2, 2, 2, 2), count_include_pad=False)),
    "mean_of_nothing": behind(
        lambda x: quantized(relax.op.mean(x, [1]), 0.1), shape=(2, 0, 3), zero=0
    ),
    "mean_of_rows": behind(lambda x: relax.op.mean(x, [1])),
    "mean_of_all": behind(lambda x: relax.op.mean(x)),
    "sum": behind(lambda x: relax.op.sum(x, [1, 2])),
    "scales_per_channel": behind(pooled((2, 2)), scale=[0.1, 0.2, 0.3], axis=3),
    "zeros_per_channel": behind(pooled((2, 2)), zero=[1, 2, 3], axis=3),
    "int16": behind(pooled((2, 2)), "int16"),
    "int32": behind(pooled((2, 2)), "int32", 0),
    "floats": module(lambda emit, x: pooled((2, 2))(x), (SHAPE, "float32")),
    "rank_3": behind(lambda x: relax.op.mean(x, [1, 2]), shape=(2, 3, 4)),
}


@pytest.mark.parametrize("case", NEAR_MISSES)
def test_leaves_alone(case):
    assert_same(IntegerPool()(NEAR_MISSES[case]), NEAR_MISSES[case])
