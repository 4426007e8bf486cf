"""Codes of 8 bits are those of NumPy, however they are narrowed."""

import numpy as np
import pytest
from tvm import s_tir, te, tirx

from qcompile.schedules.rounding import convert_rounding, to_nearest
from qcompile.schedules.saturation import FORMS
from qcompile.targets import load_target
from tests.schedules.kernels import compiled, run, runnable

FORM_OF = dict(zip(("rpi4", "rpi5"), FORMS, strict=True))
LENGTH = 192


def kernel(zero, limits, dtype: str, lanes: int) -> tirx.PrimFunc:
    """y = dtype(to_nearest(clamp(x / 2)) + zero) in vectors; without limits they are data."""
    x = te.placeholder((LENGTH,), "float32", name="x")
    given = te.placeholder((3,), "float32", name="given")

    def entry(i):
        if limits is None:
            shift, low, high = given[0].astype("int32"), given[1], given[2]
        else:
            shift = tirx.const(zero, "int32")
            low, high = (tirx.const(float(limit - zero), "float32") for limit in limits)
        # A product in front of the rounding's addition: nothing may contract them.
        value = tirx.max(tirx.min(x[i] * tirx.const(0.5, "float32"), high), low)
        return (to_nearest(value) + shift).astype(dtype)

    func = te.create_prim_func([x, given, te.compute((LENGTH,), entry, name="y")])
    sch = s_tir.Schedule(func.with_attr("global_symbol", "main"))
    (loop,) = sch.get_loops(sch.get_sblock("y"))
    sch.vectorize(sch.split(loop, [None, lanes])[1])
    return sch.mod["main"].with_attr("tirx.is_scheduled", True)


def values() -> np.ndarray:
    """Ties, their neighbours, and numbers beyond every code and every int32."""
    ties = np.arange(-300, 300, 9, dtype="float32")
    near = [np.nextafter(ties, side, dtype="float32") for side in (-np.inf, np.inf)]
    far = [-np.inf, np.inf, -3e38, 3e38, 2.0**22, -(2.0**23), -(2.0**31), 2.0**31, -0.0, 0.0, 127.5]
    return np.resize(np.concatenate([far, ties, *near]), LENGTH).astype("float32")


@pytest.mark.emulated
@pytest.mark.parametrize("name", FORM_OF)
@pytest.mark.parametrize(
    ("zero", "limits", "dtype", "lanes"),
    [
        *((128, (0, 255), "uint8", 16), (-5, (-128, 127), "int8", 16), (0, (0, 255), "uint8", 8)),
        *((3, (0, 200), "uint8", 4), (7, None, "uint8", 16), (-128, None, "int8", 16)),
    ],
)
def test_keeps_the_codes(zero, limits, dtype, lanes, name):
    target = runnable(load_target(name))
    func = convert_rounding(kernel(zero, limits, dtype, lanes), target)
    assert f"codes_{FORM_OF[name]}" in func.script()
    low, high = limits or (zero - 1, zero + 90)
    low, high = max(low, 0 if dtype == "uint8" else -128), min(high, 255)
    given = np.array([zero, low - zero, high - zero], "float32")
    library = compiled(func, target)
    x = values()
    rounded = np.rint(x * np.float32(0.5))
    expected = (np.clip(rounded, low - zero, high - zero) + zero).astype(dtype)
    np.testing.assert_array_equal(run(library, [x, given], expected), expected)
