import numpy as np
import pytest
from scipy import special
from tvm import relax
from tvm.relax.op import nn

from qcompile.passes.tabulate import Tabulate
from tests.passes import references
from tests.passes.modules import (
    assert_same,
    calls,
    const,
    constants,
    dequantized,
    module,
    operators,
    quantized,
    run,
)

CODES = {"uint8": np.arange(256, dtype="uint8"), "int8": np.arange(-128, 128).astype("int8")}
SHAPE = (4, 64)
STEP = 0.0625  # a power of two, so that float32 holds every value exactly

pytestmark = pytest.mark.filterwarnings("error")


def chain(operator, dtype="uint8", scale=STEP, zero=100, *, to=(0.03, 90), read=8, **output):
    """quantize(operator(dequantize(x)))."""

    def body(emit, x):
        real = emit(dequantized(x, scale, zero, bits=read))
        return quantized(emit(operator(emit, real)), *to, **output)

    return module(body, (SHAPE, dtype))


def check(found, real, scale, zero, low, high):
    """The codes of `real` (float64); off by one only within float32 error of a tie."""
    exact = real / float(np.float32(scale)) + zero
    expected = np.clip(np.rint(exact), low, high)
    tie = np.abs(np.abs(exact - np.floor(exact)) - 0.5) < 1e-4
    np.testing.assert_array_equal(found[~tie], expected[~tie])
    assert (abs(found.astype("int64") - expected)[tie] <= 1).all()


def one(operator):
    return lambda emit, x: operator(x)


OPERATORS = {
    "sigmoid": (one(relax.op.sigmoid), special.expit),
    "tanh": (one(relax.op.tanh), np.tanh),
    "silu": (one(nn.silu), lambda x: x * special.expit(x)),
    "gelu": (one(nn.gelu), lambda x: x * special.ndtr(x)),
    "exp": (one(relax.op.exp), np.exp),
    "erf": (one(relax.op.erf), special.erf),
    "abs": (one(relax.op.abs), np.abs),
    "sign": (one(relax.op.sign), np.sign),
    "square": (one(relax.op.square), np.square),
    "round": (one(relax.op.round), np.rint),
    "floor": (one(relax.op.floor), np.floor),
    "ceil": (one(relax.op.ceil), np.ceil),
    "negative": (one(relax.op.negative), np.negative),
    "leakyrelu": (lambda emit, x: nn.leakyrelu(x, 0.1), lambda x: np.where(x > 0, x, 0.1 * x)),
    "relu6": (one(nn.relu6), lambda x: x.clip(0, 6)),
    "clip": (lambda emit, x: relax.op.clip(x, -0.4, 1.3), lambda x: x.clip(-0.4, 1.3)),
    "clip_turned_around": (lambda emit, x: relax.op.clip(x, 1.3, -0.4), lambda x: 0 * x + 1.3),
    "times": (lambda emit, x: relax.op.multiply(x, const(-0.7)), lambda x: -0.7 * x),
    "from_the_left": (lambda emit, x: relax.op.subtract(const([[1.5]]), x), lambda x: 1.5 - x),
    "power": (lambda emit, x: relax.op.power(const(1.5), x), lambda x: 1.5**x),
    "swish": (
        lambda emit, x: relax.op.multiply(emit(relax.op.sigmoid(x)), x),
        lambda x: x * special.expit(x),
    ),
    "hard_swish": (
        lambda emit, x: relax.op.divide(
            emit(relax.op.multiply(x, emit(nn.relu6(emit(relax.op.add(x, const(3.0))))))),
            const(6.0),
        ),
        lambda x: x * (x + 3).clip(0, 6) / 6,
    ),
    "maximum": (lambda emit, x: relax.op.maximum(x, const(0.2)), lambda x: np.maximum(x, 0.2)),
}


@pytest.mark.parametrize("case", OPERATORS)
def test_looks_up(case):
    operator, reference = OPERATORS[case]
    dtype = "int8" if len(case) % 2 else "uint8"
    zero = 100 if dtype == "uint8" else -28
    mod = Tabulate()(chain(operator, dtype, zero=zero))
    assert operators(mod) == ["table"]
    codes = CODES[dtype].reshape(SHAPE)
    real = reference((codes.astype("float64") - zero) * STEP)
    check(run(mod, codes), real, 0.03, 90, 0, 255)


@pytest.mark.parametrize(
    "output",
    [{"bits": 4}, {"signed": True}, {"signed": True, "bits": 3, "narrow": True}],
    ids=["uint4", "int8", "narrow_int3"],
)
def test_ranges_of_the_output(output):
    mod = Tabulate()(chain(one(relax.op.tanh), to=(0.3, 1), **output))
    low, high = references.range_of(
        output.get("bits", 8), "signed" in output, output.get("narrow", False)
    )
    codes = CODES["uint8"].reshape(SHAPE)
    found = run(mod, codes)
    assert found.dtype == ("int8" if "signed" in output else "uint8")
    real = np.tanh((codes.astype("float64") - 100) * STEP)
    check(found, real, 0.3, 1, low, high)


def test_two_readings_of_the_same_codes():
    """x * sigmoid(y), where x and y are the same codes at two scales and zero points."""

    def body(emit, x):
        left, right = emit(dequantized(x, STEP, 100)), emit(dequantized(x, 0.02, 7))
        product = emit(relax.op.multiply(left, emit(relax.op.sigmoid(right))))
        return quantized(product, 0.03, 90)

    mod = Tabulate()(module(body, (SHAPE, "uint8")))
    codes = CODES["uint8"].reshape(SHAPE).astype("float64")
    left, right = (codes - 100) * STEP, (codes - 7) * float(np.float32(0.02))
    found = run(mod, CODES["uint8"].reshape(SHAPE))
    check(found, left * special.expit(right), 0.03, 90, 0, 255)


def test_values_that_no_code_reaches():
    """The logarithm of negative values is no number; 4-bit codes from 1 on have none."""
    operator = one(relax.op.log)
    mod = Tabulate()(chain(operator, scale=0.5, zero=0))
    assert operators(mod) == ["dequantize", "log", "quantize"]  # code 0
    shifted = lambda emit, x: relax.op.log(emit(relax.op.add(x, const(0.25))))  # noqa: E731
    mod = Tabulate()(chain(shifted, "int8", scale=0.5, zero=-8, read=4))
    assert operators(mod) == ["table"]
    codes = np.resize(np.arange(-8, 8), SHAPE).astype("int8")
    real = np.log((codes.astype("float64") + 8) * 0.5 + 0.25)
    check(run(mod, codes), real, 0.03, 90, 0, 255)


def test_entries_stand_in_the_order_of_the_codes():
    (call,) = calls(Tabulate()(chain(one(relax.op.abs), "int8", 1.0, 0, to=(1.0, 0))))
    (entries,) = constants(call)
    np.testing.assert_array_equal(entries, abs(np.arange(-128, 128)))


def test_other_readers_keep_the_floats():
    def body(emit, x):
        real = emit(relax.op.sigmoid(emit(dequantized(x, STEP, 100))))
        return [emit(quantized(real, 0.03, 90)), real]

    mod = Tabulate()(module(body, (SHAPE, "uint8")))
    codes = CODES["uint8"].reshape(SHAPE)
    found, real = run(mod, codes)
    expected = special.expit((codes.astype("float64") - 100) * STEP)
    check(found, expected, 0.03, 90, 0, 255)
    np.testing.assert_allclose(real, expected, rtol=1e-6)


def two_tensors(emit, x, y):
    x, y = emit(dequantized(x, 0.1)), emit(relax.op.sigmoid(emit(dequantized(y, 0.1))))
    return quantized(emit(relax.op.multiply(x, y)), 0.1)


def broadcast(emit, x):
    row = emit(dequantized(x, 0.1))
    return quantized(emit(relax.op.exp(emit(relax.op.add(row, const(np.ones((1, 1, 1))))))), 0.1)


def mean(emit, x):
    return relax.op.subtract(x, emit(relax.op.mean(x, 1, keepdims=True)))


NEAR_MISSES = {
    "dequantize_alone": module(
        lambda emit, x: quantized(emit(dequantized(x, 0.1)), 0.2), (SHAPE, "uint8")
    ),
    "two_tensors": module(two_tensors, (SHAPE, "uint8"), (SHAPE, "uint8")),
    "broadcast": module(broadcast, (SHAPE, "uint8")),
    "not_elementwise": chain(mean),
    "unknown": chain(one(relax.op.atan)),
    "int16": chain(one(relax.op.exp), "int16", zero=0, read=16),
    "sums": chain(one(relax.op.exp), "int32", zero=0, read=32),
    "16_bits_out": module(
        lambda emit, x: quantized(emit(relax.op.exp(emit(dequantized(x, 0.1)))), 0.1, bits=16),
        (SHAPE, "uint8"),
    ),
    "constants_per_channel": chain(
        lambda emit, x: relax.op.exp(emit(relax.op.multiply(x, const(np.ones(64)))))
    ),
    "scales_per_channel": chain(one(relax.op.exp), scale=np.ones(64)),
    "scales_of_the_output": chain(one(relax.op.exp), to=(np.ones(64), 0)),
    "floats": module(lambda emit, x: quantized(emit(relax.op.exp(x)), 0.1), (SHAPE, "float32")),
}


@pytest.mark.parametrize("case", NEAR_MISSES)
def test_leaves_alone(case):
    assert_same(Tabulate()(NEAR_MISSES[case]), NEAR_MISSES[case])
