import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import relax
from tvm.relax.op import nn

from qcompile.ops import multi_threshold
from qcompile.ops.roundings import ARRAYS, round_array
from qcompile.passes.threshold import Threshold
from tests.passes.modules import (
    assert_same,
    const,
    dequantized,
    module,
    operators,
    quantized,
    run,
)

CHANNELS = 8
RNG = np.random.default_rng(0)
SUMS = np.concatenate(
    [RNG.integers(-40, 40, (300, CHANNELS)), RNG.integers(-(2**30), 2**30, (50, CHANNELS))]
).astype("int32")
BIPOLAR = {"bits": 1, "signed": True, "narrow": True}
GAMMA = np.float32([1, -1, 0.37, -0.21, 0, 2, -3, 1e-3])
BETA = np.float32([0, 0.5, -0.3, 1, -1, 0.25, 7, 0])


def chained(chain, dtype="int32", scale=0.25, to=(0.5, 0), zero=0, **output):
    """quantize(chain(dequantize(x)))."""

    def body(emit, x):
        real = emit(dequantized(x, scale, zero, axis=1))
        return quantized(chain(emit, real), *to, **output)

    return module(body, ((len(SUMS), CHANNELS), dtype))


def normalized(emit, x):
    return emit(relax.op.add(emit(relax.op.multiply(x, const(GAMMA))), const(BETA)))


def sign_codes(real):
    return np.where(real >= 0, 1, -1)


def codes(real, low, high, step=0.5, zero=0, rounding="half_even"):
    rounded = round_array((real / np.float32(step)).astype("float32"), rounding) + zero
    return np.clip(rounded, low, high)


def floats(sums, scale=0.25):
    return sums.astype("float32") * np.float32(scale)


def test_signs_of_normalized_sums():
    mod = Threshold()(chained(normalized, **BIPOLAR))
    assert operators(mod) == ["threshold"]
    found = run(mod, SUMS)
    assert found.dtype == "int8"
    np.testing.assert_array_equal(found, sign_codes(floats(SUMS) * GAMMA + BETA))


@pytest.mark.parametrize("rounding", ARRAYS)
@pytest.mark.parametrize(
    ("output", "low", "high"),
    [
        ({"bits": 1}, 0, 1),
        ({"bits": 2}, 0, 3),
        ({"bits": 2, "signed": True}, -2, 1),
        ({"bits": 2, "signed": True, "narrow": True}, -1, 1),
    ],
    ids=["uint1", "uint2", "int2", "ternary"],
)
def test_every_rounding_with_its_ties(output, low, high, rounding):
    """Sums of scale 0.25 and steps of 0.5: every second value is a tie."""
    mod = Threshold()(chained(normalized, rounding=rounding, **output))
    assert operators(mod) == ["threshold"]
    expected = codes(floats(SUMS) * GAMMA + BETA, low, high, rounding=rounding)
    np.testing.assert_array_equal(run(mod, SUMS), expected)


def prelu(emit, x):
    return nn.prelu(x, const(np.abs(GAMMA)), 1)


CHAINS = {
    "nothing": (lambda emit, x: x, lambda v: v),
    "relu": (lambda emit, x: nn.relu(x), lambda v: np.maximum(v, 0)),
    "leakyrelu": (
        lambda emit, x: emit(nn.leakyrelu(x, 0.3)),
        lambda v: np.where(v > 0, v, v * np.float32(0.3)),
    ),
    "prelu": (prelu, lambda v: np.where(v > 0, v, v * np.abs(GAMMA))),
    "clip": (
        lambda emit, x: relax.op.clip(x, -0.4, 0.9),
        lambda v: np.clip(v, np.float32(-0.4), np.float32(0.9)),
    ),
    "from_a_constant": (lambda emit, x: relax.op.subtract(const(BETA), x), lambda v: BETA - v),
    "divided": (lambda emit, x: relax.op.divide(x, const(BETA + 2)), lambda v: v / (BETA + 2)),
    "negative": (lambda emit, x: relax.op.negative(x), np.negative),
}


@pytest.mark.parametrize("case", CHAINS)
@pytest.mark.parametrize("scale", [0.25, GAMMA], ids=["one_scale", "scale_of_each"])
def test_chains(case, scale):
    chain, reference = CHAINS[case]

    def emitted(emit, x):
        return emit(chain(emit, x))

    mod = Threshold()(chained(emitted, scale=scale, to=(0.3, 1), bits=2))
    assert operators(mod) == ["threshold"]
    real = reference(SUMS.astype("float32") * np.float32(scale)).astype("float32")
    np.testing.assert_array_equal(run(mod, SUMS), codes(real, 0, 3, step=0.3, zero=1))


@pytest.mark.parametrize(("dtype", "zero"), [("uint8", 100), ("int8", -7)])
def test_codes_have_thresholds_too(dtype, zero):
    limits = np.iinfo(dtype)
    values = RNG.integers(limits.min, limits.max + 1, SUMS.shape).astype(dtype)
    mod = Threshold()(chained(normalized, dtype=dtype, zero=zero, **BIPOLAR))
    assert operators(mod) == ["threshold"]
    real = floats(values.astype("int64") - zero) * GAMMA + BETA
    np.testing.assert_array_equal(run(mod, values), sign_codes(real))


@pytest.mark.parametrize("channels", [1, CHANNELS])
def test_thresholds_of_real_values(channels):
    limits = np.sort(RNG.normal(0, 3, (channels, 7)).astype("float32"), axis=1)

    def body(emit, x):
        real = normalized(emit, emit(dequantized(x, 0.25, axis=1)))
        return multi_threshold(real, const(limits), axis=1)

    mod = Threshold()(module(body, (SUMS.shape, "int32")))
    assert operators(mod) == ["threshold"]
    reached = (floats(SUMS) * GAMMA + BETA)[..., None] >= limits
    np.testing.assert_array_equal(run(mod, SUMS), reached.sum(axis=-1))


def real_thresholds(levels, axis):
    limits = const(np.arange(4 * levels).reshape(4, levels))

    def body(emit, x):
        return multi_threshold(emit(dequantized(x, 0.25)), limits, axis=axis)

    return module(body, ((4, 4), "int32"))


@settings(max_examples=20, deadline=None)
@given(
    gamma=st.lists(st.floats(-4, 4, width=32), min_size=CHANNELS, max_size=CHANNELS),
    beta=st.lists(st.floats(-4, 4, width=32), min_size=CHANNELS, max_size=CHANNELS),
    step=st.floats(2**-6, 3, width=32),
)
def test_any_normalization(gamma, beta, step):
    gamma, beta = np.float32(gamma), np.float32(beta)

    def chain(emit, x):
        return emit(relax.op.add(emit(relax.op.multiply(x, const(gamma))), const(beta)))

    mod = Threshold()(chained(chain, to=(step, 1), bits=2, signed=True))
    expected = codes(floats(SUMS) * gamma + beta, -2, 1, step=step, zero=1)
    np.testing.assert_array_equal(run(mod, SUMS), expected)


def twice(emit, x):
    return emit(relax.op.multiply(x, x))


NEAR_MISSES = {
    "more_bits": chained(normalized, bits=3),
    "no_order": chained(twice, bits=2),
    "falling_slope": chained(lambda emit, x: emit(nn.leakyrelu(x, -0.1)), bits=2),
    "steps_of_each_channel": chained(
        normalized, to=(np.ones(CHANNELS), np.zeros(CHANNELS)), bits=2
    ),
    "many_levels": real_thresholds(16, 1),
    "levels_along_rows": real_thresholds(3, 0),
    "floats": module(lambda emit, x: quantized(x, 0.1, bits=2), ((4, 8), "float32")),
    "constant_of_each_element": chained(
        lambda emit, x: emit(relax.op.add(x, const(np.ones((len(SUMS), CHANNELS))))), bits=2
    ),
}


@pytest.mark.parametrize("case", NEAR_MISSES)
def test_leaves_alone(case):
    assert_same(Threshold()(NEAR_MISSES[case]), NEAR_MISSES[case])
