"""quantize: dividing by powers of two is multiplying by their reciprocals."""

import numpy as np
import pytest
import tvm
from tvm import relax

from qcompile.ops import register_ops
from qcompile.ops.quantize import quantize, quantize_array
from qcompile.ops.roundings import EXPRESSIONS


def lowered(scale: np.ndarray, shape: tuple[int, ...], rounding: str) -> tvm.IRModule:
    """A module that quantizes its input to uint8 along axis 1, as loops."""
    register_ops()
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType(shape, "float32"))
    with builder.function("main", [x]):
        parameters = relax.const(scale, "float32"), relax.const(3, "uint8")
        builder.emit_func_output(builder.emit(quantize(x, *parameters, axis=1, rounding=rounding)))
    return relax.transform.LegalizeOps()(builder.get())


@pytest.mark.parametrize("rounding", sorted(EXPRESSIONS))
def test_keeps_the_codes_of_division(rounding):
    rng = np.random.default_rng(0)
    scale = 2.0 ** np.array([-119, -4, 0, 3, 118], "float32")
    steps = rng.integers(-1100, 1100, (200, 5)) / 4  # halves among them
    x = (steps * scale).astype("float32")
    x = np.where(rng.random(x.shape) < 0.1, np.nextafter(x, np.float32(0)), x)

    built = tvm.compile(lowered(scale, x.shape, rounding), "llvm")
    codes = relax.VirtualMachine(built, tvm.cpu())["main"](tvm.runtime.tensor(x)).numpy()

    expected = quantize_array(x, scale, np.uint8(3), bits=8, rounding=rounding)  # NumPy's division
    np.testing.assert_array_equal(codes, expected)


@pytest.mark.parametrize(
    ("scale", "divides"),
    [([0.25, 8.0], False), ([0.25, 0.3], True), ([2.0**-127, 1.0], True), ([2.0**127, 1.0], True)],
)
def test_multiplies_by_exact_reciprocals_alone(scale, divides):
    text = lowered(np.array(scale, "float32"), (4, 2), "half_even").script()
    assert (" / " in text) == divides
