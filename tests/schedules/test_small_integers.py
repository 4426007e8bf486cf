"""Integers become the float32 that they are."""

import numpy as np
import pytest
from tvm import te

from qcompile.schedules.rounding import convert_rounding
from qcompile.schedules.small_integers import LARGEST, small
from qcompile.targets import load_target
from tests.schedules.kernels import build, run, runnable


def kernel():
    """y = float32(codes - 128) + float32(sums), which are small."""
    codes = te.placeholder((64,), "uint8", name="codes")
    sums = te.placeholder((64,), "int32", name="sums")

    def entry(i):
        code = (codes[i].astype("int32") - 128).astype("float32")
        return code + small(sums[i]).astype("float32")

    func = te.create_prim_func([codes, sums, te.compute((64,), entry, name="y")])
    return func.with_attr("global_symbol", "main")


@pytest.mark.emulated
@pytest.mark.parametrize("name", ["rpi4", "rpi5"])
def test_keeps_the_numbers(name):
    target = runnable(load_target(name))
    codes = np.linspace(0, 255, 64).astype("uint8")
    sums = np.linspace(-LARGEST, LARGEST, 64).astype("int32")
    expected = (codes.astype("float32") - np.float32(128)) + sums.astype("float32")
    found = run(build(kernel(), target), [codes, sums], expected)
    np.testing.assert_array_equal(found.view("uint32"), expected.view("uint32"))


def test_adds_where_conversions_are_slow():
    converted = {name: convert_rounding(kernel(), load_target(name)).script() for name in CONVERTS}
    assert {name: "reinterpret" not in script for name, script in converted.items()} == CONVERTS


CONVERTS = {"rpi4": True, "armv7-a9": True, "znver4": True, "rpi5": False, "neoverse-n2": False}


def test_converts_what_may_be_large():
    x = te.placeholder((64,), "int32", name="x")
    func = te.create_prim_func([x, te.compute((64,), lambda i: x[i].astype("float32"), name="y")])
    assert "reinterpret" not in convert_rounding(func, load_target("rpi5")).script()
