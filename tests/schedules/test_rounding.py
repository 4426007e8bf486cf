"""convert_rounding keeps every code, and uses one instruction."""

import numpy as np
import pytest
import tvm
from tvm import te, tirx

from qcompile.schedules.rounding import convert_rounding
from qcompile.targets import host_features, load_target
from tests.schedules.kernels import build, run, runnable


def codes(
    low: float, high: float, zero: float, dtype: str, rounding=tirx.round, length: int = 256
) -> tirx.PrimFunc:
    """y = dtype(int32(max(min(round(x) + zero, high), low)))."""
    x = te.placeholder((length,), "float32", name="x")

    def entry(i):
        value = rounding(x[i])
        value = value + tirx.const(zero, "float32") if zero else value
        value = tirx.max(tirx.min(value, tirx.const(high, "float32")), tirx.const(low, "float32"))
        return value.astype("int32").astype(dtype)

    func = te.create_prim_func([x, te.compute((length,), entry, name="y")])
    return func.with_attr("global_symbol", "main")


def values() -> np.ndarray:
    """Ties, both zeros, neighbours of ties, and numbers beyond every int32."""
    ties = np.arange(-40, 40, dtype="float32") / 2
    near = [np.nextafter(ties, side, dtype="float32") for side in (-np.inf, np.inf)]
    far = [-np.inf, -3e38, -(2.0**31), -(2.0**24), -129, 128, 254.5, 255.5, 2.0**24, 2.0**31]
    special = np.array([*far, np.inf, -0.0, 0.0, 2.0**23 + 1, 127.5, -128.5], "float32")
    return np.resize(np.concatenate([ties, *near, special]), 256).astype("float32")


@pytest.mark.parametrize("target", ["x86-64-v3", "znver4"])
@pytest.mark.parametrize("rounding", [tirx.round, tirx.nearbyint])
@pytest.mark.parametrize(
    ("low", "high", "zero", "dtype"),
    [(0, 255, 0, "uint8"), (0, 255, 128, "uint8"), (-128, 127, -5, "int8"), (0, 15, 3, "uint8")],
)
def test_keeps_the_codes(low, high, zero, dtype, rounding, target):
    target = load_target(target)
    if not target.runs_on(host_features()):
        pytest.skip(f"this processor cannot run {target.name}")
    func = convert_rounding(codes(low, high, zero, dtype, rounding), target)
    assert "to_nearest" in func.script()
    library = tvm.compile(tvm.IRModule({"main": func}), target=target.tvm_target())
    x, y = values(), tvm.runtime.tensor(np.zeros(256, dtype))
    library(tvm.runtime.tensor(x), y)
    expected = np.clip(np.rint(x) + np.float32(zero), low, high).astype(dtype)
    np.testing.assert_array_equal(y.numpy(), expected)


@pytest.mark.emulated
@pytest.mark.parametrize("name", ["rpi4", "armv7-a9"])
@pytest.mark.parametrize("length", [256, 7, 1])
@pytest.mark.parametrize(
    ("low", "high", "zero", "dtype"),
    [(0, 255, 128, "uint8"), (-128, 127, -5, "int8"), (-(2**21), 2**21, 0, "int32")],
)
def test_keeps_the_codes_on_arm(low, high, zero, dtype, length, name):
    target = runnable(load_target(name))
    library = build(codes(low, high, zero, dtype, length=length), target)
    for x in (values()[:length], values()[::-1][:length].copy()):
        expected = np.clip(np.rint(x) + np.float32(zero), low, high).astype(dtype)
        np.testing.assert_array_equal(run(library, [x], expected), expected)


@pytest.mark.emulated
def test_rounds_vectors_on_armv7():
    x = te.placeholder((256,), "float32", name="x")
    y = te.compute((256,), lambda i: tirx.round(x[i]), name="y")
    library = build(te.create_prim_func([x, y]), runnable(load_target("armv7-a9")))
    # Bits, so that -0 is not 0.
    expected = np.rint(values()).view("uint32")
    np.testing.assert_array_equal(run(library, [values()], values()).view("uint32"), expected)


@pytest.mark.parametrize("limits", [(0.5, 255, 0), (0, 255, 0.25), (-(2.0**30), 2.0**30, 0)])
def test_leaves_alone_what_may_not_be_exact(limits):
    func = codes(*limits, "int32")
    for name in ("znver4", "rpi4"):
        tvm.ir.assert_structural_equal(convert_rounding(func, load_target(name)), func)


def test_leaves_alone_other_roundings():
    func = codes(0, 255, 0, "uint8", tirx.floor)
    tvm.ir.assert_structural_equal(convert_rounding(func, load_target("znver4")), func)
