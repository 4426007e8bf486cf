"""Scales that are powers of two move out of quantizers, and no code changes."""

import numpy as np
import pytest
from tvm import relax

from qcompile.passes.unit_scale import UnitScale
from tests.passes.modules import (
    assert_same,
    calls,
    const,
    constants,
    dequantized,
    module,
    quantized,
    run,
)

RNG = np.random.default_rng(0)
SUMS = RNG.integers(-600, 600, (256, 8)).astype("int32")
CODES = RNG.integers(0, 256, (256, 8)).astype("uint8")
FACTOR = RNG.uniform(-0.1, 0.1, 8).astype("float32")
OFFSET = RNG.normal(0, 1, 8).astype("float32")


def stream(scale=2**-4, between=None, read_twice=False, **output):
    """quantize(dequantize(sums) + offset + dequantize(codes)), the residual stream of a network."""

    def body(emit, sums, codes):
        total = emit(dequantized(sums, FACTOR, axis=1))
        total = emit(relax.op.add(total, const(OFFSET)))
        total = emit(relax.op.add(total, emit(dequantized(codes, 2**-4, 128))))
        total = emit(between(total)) if between else total
        result = quantized(total, scale, output.pop("zero", 128), **output)
        return [emit(result), total] if read_twice else result

    return module(body, (SUMS.shape, "int32"), (CODES.shape, "uint8"))


@pytest.mark.parametrize("scale", [2**-4, 2**-7, 2.0, 1.0])
@pytest.mark.parametrize("relu", [False, True])
def test_keeps_the_codes(scale, relu):
    after = UnitScale()(stream(scale, relax.op.nn.relu if relu else None))
    (quantize,) = calls(after, "qcompile.quantize")
    assert constants(quantize)[0] == 1
    real = SUMS.astype("float32") * FACTOR + OFFSET
    real = real + (CODES.astype("float32") - np.float32(128)) * np.float32(2**-4)
    real = np.maximum(real, np.float32(0)) if relu else real
    expected = np.clip(np.rint(real / np.float32(scale)) + 128, 0, 255).astype("uint8")
    np.testing.assert_array_equal(run(after, SUMS, CODES), expected)


def test_moves_the_scale_to_every_term():
    first, second = calls(UnitScale()(stream()), "qcompile.dequantize")
    np.testing.assert_array_equal(constants(first)[0], FACTOR * 16)
    assert constants(second)[0] == 1


@pytest.mark.parametrize(
    "mod",
    [
        stream(0.1),
        stream(2.0**-70),
        stream(read_twice=True),
        stream(between=relax.op.exp),
        stream(bits=1, signed=True, narrow=True, zero=0),
    ],
    ids=["no_power_of_two", "too_small", "read_twice", "other_operators", "bipolar"],
)
def test_leaves_alone(mod):
    assert_same(UnitScale()(mod), mod)


def test_leaves_alone_constants_that_would_lose_bits():
    def body(emit, codes):
        total = relax.op.add(emit(dequantized(codes, 2**-4)), const(np.full(8, 2.0**-61)))
        return quantized(emit(total), 2**-4)

    mod = module(body, (CODES.shape, "uint8"))
    assert_same(UnitScale()(mod), mod)
