import numpy as np
import pytest
from tvm import relax
from tvm.relax.op import nn

from qcompile.passes.dequantize_per_reader import DequantizePerReader
from tests.passes import references
from tests.passes.modules import assert_same, dequantized, module, operators, run

X = np.arange(256, dtype="uint8").reshape(4, 64)
IMAGE = (X.shape, "uint8")
REAL = references.values(X, 0.5, 100)


def several(emit, x):
    real = emit(dequantized(x, 0.5, 100))
    squared = emit(relax.op.multiply(real, real))
    return [emit(nn.relu(real)), squared, emit(relax.op.concat([real, real], 0))]


def test_every_reading_has_its_own():
    mod = DequantizePerReader()(module(several, IMAGE))
    assert operators(mod).count("dequantize") == 5
    relu, squared, joined = run(mod, X)
    np.testing.assert_array_equal(relu, np.maximum(REAL, 0))
    np.testing.assert_array_equal(squared, REAL * REAL)
    np.testing.assert_array_equal(joined, np.concatenate([REAL, REAL]))


def test_twice_is_once():
    mod = DequantizePerReader()(module(several, IMAGE))
    assert_same(DequantizePerReader()(mod), mod)


def one_reader(emit, x):
    return nn.relu(emit(dequantized(x, 0.5, 100)))


def shared_float(emit, x):
    real = emit(relax.op.abs(x))
    return [emit(nn.relu(real)), emit(relax.op.exp(real))]


def shared_sums(emit, x):
    real = emit(dequantized(x, 0.5))
    return [emit(nn.relu(real)), emit(relax.op.exp(real))]


@pytest.mark.parametrize(
    "mod",
    [
        module(one_reader, IMAGE),
        module(shared_float, (X.shape, "float32")),
        module(shared_sums, (X.shape, "int32")),
    ],
    ids=["one_reader", "shared_float", "shared_sums"],
)
def test_leaves_alone(mod):
    assert_same(DequantizePerReader()(mod), mod)
