"""PolynomialMath: the calls it replaces, and each function against NumPy and SciPy in float64.

Errors are counted in units of the last place of the exact result's nearest float32. The bounds are
those that `qcompile.schedules.polynomials` states, measured over every float32.
"""

import numpy as np
import pytest
import scipy.special
import tvm
from tvm import te, tirx

from qcompile.passes.polynomial_math import PolynomialMath
from qcompile.schedules import schedule
from qcompile.schedules.polynomials import register_polynomials
from qcompile.targets import host_features, load_target

register_polynomials()

EXACT = {
    "exp": (np.exp, 1.1),
    "sigmoid": (scipy.special.expit, 2.5),
    "tanh": (np.tanh, 5.7),
    "erf": (scipy.special.erf, 5.9),
    "log": (np.log, 0.9),
}
SIZE = 1 << 16
SMALLEST_NORMAL = 2.0**-126
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 3e38, -3e38, 88.72, 88.73, -87.34]


@pytest.fixture(params=["x86-64-v3", "znver4"])
def target(request):
    found = load_target(request.param)
    if not found.runs_on(host_features()):
        pytest.skip(f"this processor cannot run {found.name}")
    return found


def library(name: str, target):
    x = te.placeholder((SIZE,), "float32", name="x")
    y = te.compute((SIZE,), lambda i: getattr(tirx, name)(x[i]), name="y")
    func = te.create_prim_func([x, y]).with_attr("global_symbol", "main")
    mod = PolynomialMath()(tvm.IRModule({"main": func}))
    return tvm.compile(schedule(mod["main"], target), target=target.tvm_target())


def inputs() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    special = np.resize(np.array(SPECIAL, "float32"), SIZE)
    ranges = [np.linspace(-end, end, SIZE, dtype="float32") for end in (1, 5, 110)]
    bits = [rng.integers(0, 2**32, SIZE, dtype="uint32").view("float32") for _ in range(4)]
    return [special, *ranges, *bits]


@pytest.mark.parametrize("name", EXACT)
def test_approximates(name, target):
    exact, bound = EXACT[name]
    compiled = library(name, target)
    result = tvm.runtime.tensor(np.zeros(SIZE, "float32"))
    for x in inputs():
        compiled["main"](tvm.runtime.tensor(x), result)
        y = result.numpy()
        with np.errstate(all="ignore"):
            expected = exact(x.astype("float64"))
            nearest = expected.astype("float32")
            unit = np.spacing(np.maximum(abs(nearest), np.float32(SMALLEST_NORMAL)))
            error = abs(y - expected) / unit
        finite = np.isfinite(nearest)
        np.testing.assert_array_equal(y[~finite], nearest[~finite])
        normal = finite & (abs(expected) >= SMALLEST_NORMAL)
        assert error[normal].max(initial=0) <= bound
        if name != "sigmoid":
            assert error[finite & ~normal].max(initial=0) <= 1.0
        if name in ("sigmoid", "tanh", "erf"):
            assert np.nanmax(abs(y)) <= 1.0


def test_sigmoid_below_the_normal_numbers_is_small(target):
    x = np.linspace(-120, -87.4, SIZE, dtype="float32")
    result = tvm.runtime.tensor(np.zeros(SIZE, "float32"))
    library("sigmoid", target)["main"](tvm.runtime.tensor(x), result)
    assert (result.numpy() >= 0).all()
    assert (result.numpy() <= 2 * SMALLEST_NORMAL).all()


@pytest.mark.parametrize("name", EXACT)
def test_calls_no_library(name, target):
    assembly = library(name, target).mod.inspect_source("asm")
    assert not any(f"{function}f@" in assembly for function in ("exp", "erf", "tanh", "log"))


def elementwise(function, dtype: str = "float32") -> tvm.IRModule:
    x = te.placeholder((8,), dtype, name="x")
    func = te.create_prim_func([x, te.compute((8,), lambda i: function(x[i]), name="y")])
    return tvm.IRModule({"main": func})


def own(name: str, x: tirx.Expr) -> tirx.Expr:
    return tirx.call_intrin("float32", tvm.ir.Op.get(f"qcompile.{name}"), x)


def test_replaces_the_functions():
    before = elementwise(lambda x: tirx.exp(tirx.erf(x) + 1.0))
    after = elementwise(lambda x: own("exp", own("erf", x) + 1.0))
    tvm.ir.assert_structural_equal(PolynomialMath()(before), after)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_leaves_other_types_alone(dtype):
    before = elementwise(tirx.exp, dtype)
    tvm.ir.assert_structural_equal(PolynomialMath()(before), before)


@pytest.mark.parametrize("function", [tirx.sqrt, tirx.floor, tirx.sin])
def test_leaves_other_functions_alone(function):
    before = elementwise(function)
    tvm.ir.assert_structural_equal(PolynomialMath()(before), before)


@pytest.mark.parametrize("name", EXACT)
def test_nests_and_takes_constants(name, target):
    exact, _ = EXACT[name]
    function = getattr(tirx, name)
    x = te.placeholder((32,), "float32", name="x")

    def entry(i):
        constant = function(function(tirx.const(0.75, "float32")))
        return function(function(x[i] + 0.5) + 1.0) * tirx.if_then_else(i < 20, x[i], constant)

    func = te.create_prim_func([x, te.compute((32,), entry, name="y")])
    mod = PolynomialMath()(tvm.IRModule({"main": func.with_attr("global_symbol", "main")}))
    compiled = tvm.compile(schedule(mod["main"], target), target=target.tvm_target())
    values = np.linspace(0, 1, 32, dtype="float32")
    result = tvm.runtime.tensor(np.zeros(32, "float32"))
    compiled["main"](tvm.runtime.tensor(values), result)
    with np.errstate(invalid="ignore"):  # log(log(0.75))
        factor = np.where(np.arange(32) < 20, values, exact(exact(0.75)))
    np.testing.assert_allclose(result.numpy(), exact(exact(values + 0.5) + 1) * factor, rtol=2e-6)
