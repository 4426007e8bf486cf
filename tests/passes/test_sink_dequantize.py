import numpy as np
import pytest
from tvm import relax

from qcompile.ops import dequantize
from qcompile.passes.sink_dequantize import SinkDequantize
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
SHAPE = (2, 6, 4, 3)
CODES = RNG.integers(0, 256, SHAPE, dtype="uint8")
SIGNED = RNG.integers(-128, 128, SHAPE, dtype="int8")
REAL = references.values(CODES, 0.3, 200)


def after_dequantize(operator, dtype="uint8", scale=0.3, zero=200, shape=SHAPE, **attributes):
    """operator(dequantize(x))."""

    def body(emit, x):
        return operator(emit, emit(dequantized(x, scale, zero, **attributes)))

    return module(body, (shape, dtype))


MOVES = {
    "permute_dims": (
        lambda emit, x: relax.op.permute_dims(x, [0, 2, 3, 1]),
        lambda x: x.transpose(0, 2, 3, 1),
    ),
    "reversed": (lambda emit, x: relax.op.permute_dims(x), lambda x: x.transpose()),
    "reshape": (lambda emit, x: relax.op.reshape(x, (2, 6, 12)), lambda x: x.reshape(2, 6, 12)),
    "flatten": (lambda emit, x: relax.op.flatten(x), lambda x: x.reshape(-1)),
    "expand_dims": (
        lambda emit, x: relax.op.expand_dims(x, [0, 2]),
        lambda x: np.expand_dims(x, (0, 2)),
    ),
    "strided_slice": (
        lambda emit, x: relax.op.strided_slice(x, [1, 3], [1, -2], [6, 3], [2, 1]),
        lambda x: x[:, 1:6:2, :, -2:3],
    ),
    "take": (
        lambda emit, x: relax.op.take(x, const([3, 0, 3], "int64"), axis=2),
        lambda x: x[:, :, [3, 0, 3]],
    ),
    "tile": (lambda emit, x: relax.op.tile(x, (1, 2, 1, 1)), lambda x: np.tile(x, (1, 2, 1, 1))),
    "repeat": (lambda emit, x: relax.op.repeat(x, 2, 3), lambda x: x.repeat(2, 3)),
    "broadcast_to": (
        lambda emit, x: relax.op.broadcast_to(x, (5, *SHAPE)),
        lambda x: np.broadcast_to(x, (5, *SHAPE)),
    ),
    "flip": (lambda emit, x: relax.op.flip(x, 2), lambda x: x[:, :, ::-1]),
    "max_pool2d": (
        lambda emit, x: relax.op.nn.max_pool2d(x, (2, 2), (2, 1), (1, 0, 1, 1)),
        lambda x: np.lib.stride_tricks.sliding_window_view(
            np.pad(x, ((0, 0), (0, 0), (1, 1), (0, 1)), constant_values=-np.inf), (2, 2), (2, 3)
        )[:, :, ::2].max((4, 5)),
    ),
    "max": (
        lambda emit, x: relax.op.max(x, [2, 3], keepdims=True),
        lambda x: x.max((2, 3), keepdims=True),
    ),
    "min": (lambda emit, x: relax.op.min(x, 1), lambda x: x.min(1)),
    "resize2d": (
        lambda emit, x: relax.op.image.resize2d(
            x,
            (8, 6),
            method="nearest_neighbor",
            coordinate_transformation_mode="asymmetric",
            rounding_method="floor",
        ),
        lambda x: x.repeat(2, 2).repeat(2, 3),
    ),
    "concat": (
        lambda emit, x: relax.op.concat([x, emit(relax.op.flip(x, 2)), x], 1),
        lambda x: np.concatenate([x, x[:, :, ::-1], x], 1),
    ),
    "pad": (
        lambda emit, x: relax.op.nn.pad(x, [0, 0, 1, 0, 0, 2, 3, 0]),
        lambda x: np.pad(x, ((0, 0), (1, 0), (0, 2), (3, 0))),
    ),
}


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_keeps_the_numbers(move, dtype):
    operator, expected = MOVES[move]
    codes, zero = (CODES, 200) if dtype == "uint8" else (SIGNED, -77)
    mod = SinkDequantize()(after_dequantize(operator, dtype, zero=zero))

    assert operators(mod)[-1] == "dequantize"
    assert operators(mod).count("dequantize") == 1
    np.testing.assert_array_equal(run(mod, codes), expected(references.values(codes, 0.3, zero)))


def test_keeps_the_attributes():
    mod = SinkDequantize()(after_dequantize(MOVES["flip"][0], bits=4, zero=3))
    call = calls(mod, "qcompile.dequantize")[0]
    assert [attribute(call, name) for name in ("bits", "signed")] == [4, 0]
    assert [array.tolist() for array in constants(call)] == [np.float32(0.3), 3]


def test_16_bits():
    codes = RNG.integers(-(2**15), 2**15, SHAPE).astype("int16")

    def body(emit, x):
        real = emit(dequantized(x, 0.3, 0))
        return relax.op.concat([real, emit(relax.op.flip(real, 2))], 1)

    mod = SinkDequantize()(module(body, (SHAPE, "int16")))
    assert operators(mod) == ["flip", "concat", "dequantize"]
    real = references.values(codes, 0.3)
    np.testing.assert_array_equal(run(mod, codes), np.concatenate([real, real[:, :, ::-1]], 1))


@pytest.mark.parametrize("sections", [3, [1, 4]])
def test_split(sections):
    def body(emit, x):
        parts = emit(relax.op.split(emit(dequantized(x, 0.3, 200)), sections, 1))
        return [emit(relax.TupleGetItem(parts, i)) for i in (2, 0)]

    mod = SinkDequantize()(module(body, (SHAPE, "uint8")))
    assert operators(mod) == ["split", "dequantize", "dequantize"]
    last, first = run(mod, CODES)
    parts = np.split(REAL, sections, 1)
    np.testing.assert_array_equal(last, parts[2])
    np.testing.assert_array_equal(first, parts[0])


@pytest.mark.parametrize("axis", range(4))
def test_scales_follow_their_axis(axis):
    scale = RNG.uniform(0.1, 1, SHAPE[axis]).astype("float32")
    zero = RNG.integers(0, 256, SHAPE[axis])

    def body(emit, x):
        real = emit(dequantized(x, scale, zero, axis=axis))
        moved = emit(relax.op.permute_dims(real, [3, 1, 0, 2]))
        return relax.op.reshape(moved, (1, 3, 6, 1, 2, 4))

    mod = SinkDequantize()(module(body, (SHAPE, "uint8")))
    assert operators(mod) == ["permute_dims", "reshape", "dequantize"]
    spread = [-1 if i == axis else 1 for i in range(4)]
    real = references.values(CODES, scale.reshape(spread), zero.reshape(spread))
    np.testing.assert_array_equal(
        run(mod, CODES), real.transpose(3, 1, 0, 2).reshape(1, 3, 6, 1, 2, 4)
    )


def test_joins_a_constant():
    def body(emit, x):
        real, more = emit(dequantized(x, 0.3, 200)), emit(dequantized(CODES[:1], 0.3, 200))
        return relax.op.concat([more, real], 0)

    mod = SinkDequantize()(module(body, (SHAPE, "uint8")))
    assert operators(mod) == ["concat", "dequantize"]
    np.testing.assert_array_equal(run(mod, CODES), np.concatenate([REAL[:1], REAL]))


def test_joins_a_bound_tuple():
    def body(emit, x):
        real = emit(dequantized(x, 0.3, 200))
        return relax.op.concat(emit(relax.Tuple([real, real])), 0)

    mod = SinkDequantize()(module(body, (SHAPE, "uint8")))
    assert operators(mod) == ["concat", "dequantize"]


def test_moves_constants_at_once():
    weights = RNG.integers(-8, 8, (5, 3, 2)).astype("int8")
    scale = np.float32([0.1, 0.2, 0.3, 0.4, 0.5])

    def body(emit, x):
        w = emit(dequantized(weights, scale, axis=0, bits=4))
        w = emit(relax.op.permute_dims(emit(relax.op.reshape(w, (5, 6))), [1, 0]))
        return relax.op.matmul(x, w)

    mod = SinkDequantize()(module(body, ((2, 6), "float32")))
    assert operators(mod) == ["dequantize", "matmul"]
    (call,) = calls(mod, "qcompile.dequantize")
    assert attribute(call, "axis") == 1
    np.testing.assert_array_equal(constants(call)[0], weights.reshape(5, 6).T)


def test_a_constant_bias_is_moved_too():
    def body(emit, x):
        bias = emit(dequantized(np.arange(3, dtype="int32"), np.float32([0.1, 0.2, 0.3]), axis=0))
        return relax.op.add(x, emit(relax.op.reshape(bias, (1, 3, 1, 1))))

    mod = SinkDequantize()(module(body, ((1, 3, 2, 2), "float32")))
    assert operators(mod) == ["dequantize", "add"]
    assert attribute(calls(mod)[0], "axis") == 1


def test_other_readers_keep_the_floats():
    def body(emit, x):
        real = emit(dequantized(x, 0.3, 200))
        return [real, emit(relax.op.flip(real, 1))]

    real, flipped = run(SinkDequantize()(module(body, (SHAPE, "uint8"))), CODES)
    np.testing.assert_array_equal(real, REAL)
    np.testing.assert_array_equal(flipped, REAL[:, ::-1])


def test_a_scalar():
    mod = after_dequantize(lambda emit, x: relax.op.reshape(x, ()), shape=(1, 1))
    out = run(SinkDequantize()(mod), np.array([[7]], "uint8"))
    np.testing.assert_array_equal(out, references.values(np.array(7), 0.3, 200))


def test_joined_codes_are_as_wide_as_the_widest():
    """A reader that trusted 4 bits would take codes of 8 bits for codes of 4."""

    def body(emit, x, y):
        few = emit(dequantized(x, 0.3, 8, bits=4))
        return relax.op.concat([few, emit(dequantized(y, 0.3, 8))], 0)

    mod = SinkDequantize()(module(body, (SHAPE, "uint8"), (SHAPE, "uint8")))
    assert operators(mod) == ["concat", "dequantize"]
    assert attribute(calls(mod)[-1], "bits") == 8


@pytest.mark.parametrize("value", [-6.0, 0.0, 1.5])
def test_pads_with_a_code(value):
    mod = after_dequantize(
        lambda emit, x: relax.op.nn.pad(x, [0, 0, 0, 0, 1, 1, 1, 1], pad_value=value),
        scale=0.5,
        zero=12,
        bits=4,
    )
    mod = SinkDequantize()(mod)
    codes = CODES % 16
    assert operators(mod) == ["pad", "dequantize"]
    code = 12 + round(value / 0.5)
    expected = np.pad(codes, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=code)
    np.testing.assert_array_equal(run(mod, codes), references.values(expected, 0.5, 12))


def padded(value, mode="constant"):
    return lambda emit, x: relax.op.nn.pad(
        x, [0, 0, 0, 0, 1, 1, 1, 1], pad_mode=mode, pad_value=value
    )


def pooled(**attributes):
    return lambda emit, x: relax.op.nn.max_pool2d(x, **attributes)


def resized(**attributes):
    return lambda emit, x: relax.op.image.resize2d(
        x, (8, 6), method="nearest_neighbor", **attributes
    )


def joined(other):
    return lambda emit, x: relax.op.concat([x, other(emit, x)], 0)


NEAR_MISSES = {
    "pad_between_codes": (padded(0.25), {}),
    "pad_beyond_the_codes": (padded(8.0), {"scale": 0.5, "bits": 4, "zero": 0}),
    "pad_minus_infinity": (padded(float("-inf")), {}),
    "reflected": (padded(0.0, "reflect"), {}),
    "linear_resize": (lambda emit, x: relax.op.image.resize2d(x, (8, 6), method="linear"), {}),
    "resize_to_floats": (resized(out_dtype="float32"), {}),
    "resize_beyond_the_image": (
        resized(coordinate_transformation_mode="tf_crop_and_resize", roi=(0.0, 0.0, 2.0, 2.0)),
        {},
    ),
    "take_or_nan": (
        lambda emit, x: relax.op.take(x, const([9], "int64"), 0, mode="nan"),
        {},
    ),
    "mean": (lambda emit, x: relax.op.mean(x, 1), {}),
    "sums": (MOVES["flip"][0], {"dtype": "int32", "zero": 0}),
    "joined_sums": (joined(lambda emit, x: x), {"dtype": "int32", "zero": 0}),
    "joined_with_floats": (joined(lambda emit, x: const(REAL)), {}),
    "joined_with_other_scale": (joined(lambda emit, x: emit(dequantized(CODES, 0.31, 200))), {}),
    "joined_with_other_zero": (joined(lambda emit, x: emit(dequantized(CODES, 0.3, 201))), {}),
    "joined_with_other_type": (joined(lambda emit, x: emit(dequantized(SIGNED, 0.3, 100))), {}),
    "joined_per_channel": (joined(lambda emit, x: x), {"scale": [0.1, 0.2, 0.3], "axis": 3}),
    "channels_torn_apart": (
        lambda emit, x: relax.op.reshape(x, (2, 3, 2, 12)),
        {"scale": np.full(6, 0.1), "axis": 1},
    ),
    "channels_sliced": (
        lambda emit, x: relax.op.strided_slice(x, [1], [0], [2]),
        {"scale": np.full(6, 0.1), "axis": 1},
    ),
    "negative_scale_of_a_maximum": (pooled(pool_size=(2, 2)), {"scale": -0.3}),
    "negative_scale_of_the_largest": (lambda emit, x: relax.op.max(x, 1), {"scale": -0.3}),
    "negative_scale_of_the_smallest": (lambda emit, x: relax.op.min(x, 1), {"scale": -0.3}),
    "largest_of_each_scale": (
        lambda emit, x: relax.op.max(x, 1),
        {"scale": np.arange(1, 7), "axis": 1},
    ),
    "windows_outside_the_image": (
        pooled(pool_size=(2, 2), padding=(2, 0, 0, 0)),
        {"bits": 4, "zero": 0},
    ),
    "last_window_outside_the_image": (
        pooled(pool_size=(1, 1), strides=(2, 2), padding=(0, 0, 1, 0)),
        {"bits": 4, "zero": 0},
    ),
}


@pytest.mark.parametrize("case", NEAR_MISSES)
def test_leaves_alone(case):
    operator, options = NEAR_MISSES[case]
    mod = after_dequantize(operator, **options)
    assert_same(SinkDequantize()(mod), mod)


def test_leaves_computed_tuples_and_parameters_alone():
    def body(emit, x, scale):
        parts = emit(relax.op.split(x, 2, 1))
        joined = emit(relax.op.concat(emit(relax.Tuple([x, x])), 0))
        codes = emit(dequantize(x, scale, const(0, "uint8")))
        computed = emit(relax.op.flip(codes, 1))
        return [joined, emit(relax.op.concat(parts, 1)), computed]

    mod = module(body, (SHAPE, "uint8"), ((), "float32"))
    assert_same(SinkDequantize()(mod), mod)
