import numpy as np
import pytest
from tvm import relax

from qcompile.passes.hoist_quantize import HoistQuantize
from tests.passes import references
from tests.passes.modules import (
    assert_same,
    attribute,
    calls,
    const,
    module,
    operators,
    quantized,
    run,
)

RNG = np.random.default_rng(0)
SHAPE = (2, 6, 4, 3)
X = RNG.normal(scale=3, size=SHAPE).astype("float32")


def before_quantize(operator, scale=0.1, zero=100, **attributes):
    """quantize(operator(x))."""

    def body(emit, x):
        return quantized(emit(operator(emit, x)), scale, zero, **attributes)

    return module(body, (SHAPE, "float32"))


def resized(**attributes):
    return lambda emit, x: relax.op.image.resize2d(
        x,
        (8, 6),
        rounding_method="floor",
        coordinate_transformation_mode="asymmetric",
        **attributes,
    )


def pooled(**attributes):
    return lambda emit, x: relax.op.nn.max_pool2d(x, **attributes)


def windows(x):
    edge = np.pad(x, ((0, 0), (0, 0), (1, 0), (0, 0)), constant_values=-np.inf)
    return np.lib.stride_tricks.sliding_window_view(edge, (2, 2), (2, 3))[:, :, ::2].max((4, 5))


MOVES = {
    "permute_dims": (
        lambda emit, x: relax.op.permute_dims(x, [0, 2, 3, 1]),
        lambda x: x.transpose(0, 2, 3, 1),
    ),
    "reshape": (lambda emit, x: relax.op.reshape(x, (2, 72)), lambda x: x.reshape(2, 72)),
    "strided_slice": (
        lambda emit, x: relax.op.strided_slice(x, [1], [1], [6], [2]),
        lambda x: x[:, 1:6:2],
    ),
    "max_pool2d": (pooled(pool_size=(2, 2), strides=(2, 1), padding=(1, 0, 0, 0)), windows),
    "resize2d": (
        resized(method="nearest_neighbor"),
        lambda x: x.repeat(2, 2).repeat(2, 3),
    ),
    "several": (
        lambda emit, x: relax.op.reshape(emit(relax.op.permute_dims(x)), (-1,)),
        lambda x: x.transpose().reshape(-1),
    ),
}


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize(
    "attributes",
    [{}, {"bits": 4, "zero": 7}, {"signed": True, "bits": 4, "narrow": True, "zero": -7}],
    ids=["uint8", "uint4", "narrow_int4"],
)
def test_keeps_the_numbers(move, attributes):
    operator, expected = MOVES[move]
    mod = HoistQuantize()(before_quantize(operator, **attributes))
    bits, zero = attributes.get("bits", 8), attributes.get("zero", 100)
    low, high = references.range_of(bits, "signed" in attributes, "narrow" in attributes)

    assert operators(mod)[0] == "quantize"
    assert operators(mod).count("quantize") == 1
    assert [attribute(calls(mod)[0], name) for name in ("bits", "narrow")] == [
        bits,
        "narrow" in attributes,
    ]
    codes = references.codes(expected(X), 0.1, zero, low, high)
    np.testing.assert_array_equal(run(mod, X), codes)


def test_quantizes_every_joined_operand():
    """Also a constant, an operand that others read as float, and a tuple bound to a name."""

    def body(emit, x):
        flipped = emit(relax.op.permute_dims(x, [0, 1, 2, 3]))
        parts = emit(relax.Tuple([flipped, const(X[:1]), x]))
        return [emit(quantized(emit(relax.op.concat(parts, 0)), 0.1, 100)), flipped]

    mod = HoistQuantize()(module(body, (SHAPE, "float32")))
    assert operators(mod).count("quantize") == 3
    assert str(calls(mod, "relax.concat")[0].ty.dtype.dtype) == "uint8"
    codes, flipped = run(mod, X)
    expected = references.codes(np.concatenate([X, X[:1], X]), 0.1, 100, 0, 255)
    np.testing.assert_array_equal(codes, expected)
    np.testing.assert_array_equal(flipped, X)


def test_keeps_the_rounding():
    mod = HoistQuantize()(before_quantize(MOVES["permute_dims"][0], rounding="floor"))
    assert operators(mod) == ["quantize", "permute_dims"]
    assert str(calls(mod)[0].attrs["rounding"]) == "floor"


def shared(emit, x):
    moved = emit(relax.op.permute_dims(x))
    return [emit(quantized(moved, 0.1)), emit(quantized(moved, 0.2))]


def returned(emit, x):
    moved = emit(relax.op.permute_dims(x))
    return [emit(quantized(moved, 0.1)), moved]


def shared_further_up(emit, x):
    joined = emit(relax.op.concat([x, x], 1))
    return [joined, emit(quantized(emit(relax.op.abs(joined)), 0.1))]


def split_parts(emit, x):
    parts = emit(relax.op.split(x, 2, 1))
    return quantized(emit(relax.op.concat(parts, 0)), 0.1)


NEAR_MISSES = {
    "shared": module(shared, (SHAPE, "float32")),
    "returned": module(returned, (SHAPE, "float32")),
    "shared_further_up": module(shared_further_up, (SHAPE, "float32")),
    "split_parts": module(split_parts, (SHAPE, "float32")),
    "scale_per_channel": before_quantize(
        MOVES["permute_dims"][0], np.linspace(0.1, 0.6, 6), axis=3
    ),
    "zero_per_channel": before_quantize(MOVES["permute_dims"][0], 0.1, np.arange(6), axis=3),
    "negative_scale_of_a_maximum": before_quantize(pooled(pool_size=(2, 2)), -0.1),
    "windows_outside_the_image": before_quantize(pooled(pool_size=(2, 2), padding=(2, 0, 0, 0))),
    "linear_resize": before_quantize(resized(method="linear")),
    "resize_to_floats": before_quantize(resized(method="nearest_neighbor", out_dtype="float32")),
    "pad": before_quantize(lambda emit, x: relax.op.nn.pad(x, [0, 0, 0, 0, 1, 1, 1, 1])),
}


@pytest.mark.parametrize("case", NEAR_MISSES)
def test_leaves_alone(case):
    assert_same(HoistQuantize()(NEAR_MISSES[case]), NEAR_MISSES[case])
