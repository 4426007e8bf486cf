"""quantize: dividing by powers of two is multiplying; zero points are literals."""

import numpy as np
import pytest
import tvm
from tvm import relax, tirx

from qcompile.ops import register_ops
from qcompile.ops.quantize import quantize, quantize_array
from qcompile.ops.roundings import EXPRESSIONS


def lowered(
    scale: np.ndarray, shape: tuple[int, ...], rounding: str, zero: int | list[int] = 3
) -> tvm.IRModule:
    """A module that quantizes its input to uint8 along axis 1, as loops."""
    register_ops()
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType(shape, "float32"))
    with builder.function("main", [x]):
        parameters = relax.const(scale, "float32"), relax.const(np.array(zero, "uint8"), "uint8")
        builder.emit_func_output(builder.emit(quantize(x, *parameters, axis=1, rounding=rounding)))
    return relax.transform.LegalizeOps()(builder.get())


@pytest.mark.parametrize("zero", [0, 3, 255, [0, 3, 7, 128, 255]])
@pytest.mark.parametrize("rounding", sorted(EXPRESSIONS))
def test_keeps_the_codes_of_division(rounding, zero):
    rng = np.random.default_rng(0)
    scale = 2.0 ** np.array([-119, -4, 0, 3, 118], "float32")
    steps = rng.integers(-1100, 1100, (200, 5)) / 4  # halves among them
    x = (steps * scale).astype("float32")
    x = np.where(rng.random(x.shape) < 0.1, np.nextafter(x, np.float32(0)), x)

    built = tvm.compile(lowered(scale, x.shape, rounding, zero), "llvm")
    codes = relax.VirtualMachine(built, tvm.cpu())["main"](tvm.runtime.tensor(x)).numpy()

    expected = quantize_array(
        x, scale, np.array(zero, "uint8"), bits=8, rounding=rounding
    )  # NumPy's division
    np.testing.assert_array_equal(codes, expected)


@pytest.mark.parametrize(
    ("scale", "divides"),
    [([0.25, 8.0], False), ([0.25, 0.3], True), ([2.0**-127, 1.0], True), ([2.0**127, 1.0], True)],
)
def test_multiplies_by_exact_reciprocals_alone(scale, divides):
    text = lowered(np.array(scale, "float32"), (4, 2), "half_even").script()
    assert (" / " in text) == divides


@pytest.mark.parametrize(("zero", "operands"), [(3, ["x", "s"]), ([3, 3], ["x", "s", "z"])])
def test_reads_no_zero_point_that_is_one(zero, operands):
    mod = lowered(np.array([0.25, 0.5], "float32"), (4, 2), "half_even", zero)
    (kernel,) = (f for f in mod.functions.values() if isinstance(f, tirx.PrimFunc))
    assert len(kernel.params) == len([*operands, "codes"])
