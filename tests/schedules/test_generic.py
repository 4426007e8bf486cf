"""Float operators as TVM legalizes and fuses them, against NumPy in float64."""

import numpy as np
import pytest
import tvm
import tvm_ffi
from float_operators import OPERATORS, Operator
from tvm import relax, tirx

from qcompile.export.lower import lower
from qcompile.ops import add
from qcompile.passes.declared_patterns import DeclaredPatterns
from qcompile.passes.polynomial_math import PolynomialMath
from qcompile.schedules import schedule
from qcompile.schedules.generic import PLAIN
from qcompile.targets import host_features, load_target

FUSION = [
    relax.backend.DispatchSortScan(),
    relax.transform.LegalizeOps(),
    relax.transform.AnnotateTIROpPattern(),
    DeclaredPatterns(),
    relax.transform.FoldConstant(),
    relax.transform.FuseOps(),
    relax.transform.FuseTIR(),
    relax.transform.DeadCodeElimination(),
]


@pytest.fixture(params=["x86-64-v3", "znver4"])
def target(request):
    found = load_target(request.param)
    if not found.runs_on(host_features()):
        pytest.skip(f"this processor cannot run {found.name}")
    return found


def fused(operator) -> tvm.IRModule:
    """The operator as Relax function `main`, legalized and fused."""
    builder = relax.BlockBuilder()
    inputs = [
        relax.Var(f"x{k}", relax.TensorType(shape, operator.dtype))
        for k, shape in enumerate(operator.shapes)
    ]
    with builder.function("main", inputs):
        with builder.dataflow():
            output = builder.emit_output(builder.normalize(operator.build(*inputs)))
        builder.emit_func_output(output)
    with tvm.target.Target("llvm"):  # DispatchSortScan asks for it
        return tvm.transform.Sequential(FUSION)(builder.get())


def scheduled(mod: tvm.IRModule, target) -> tvm.IRModule:
    mod = PolynomialMath()(mod)
    functions = {
        var: schedule(function, target) if isinstance(function, tirx.PrimFunc) else function
        for var, function in mod.functions.items()
    }
    return tvm.IRModule(functions, attrs=mod.attrs)


def data(operator) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    if operator.dtype == "float32":
        return [rng.normal(size=shape).astype("float32") for shape in operator.shapes]
    return [rng.integers(0, 9, shape).astype(operator.dtype) for shape in operator.shapes]


@pytest.mark.parametrize("operator", OPERATORS, ids=str)
def test_keeps_the_numbers(operator, target):
    mod = scheduled(fused(operator), target)
    inputs = data(operator)
    machine = relax.VirtualMachine(tvm.compile(mod, target=target.tvm_target()), tvm.cpu())
    result = machine["main"](*map(tvm.runtime.tensor, inputs)).numpy()
    wide = [x.astype("float64") if x.dtype == "float32" else x for x in inputs]
    expected = operator.expected(*wide)
    if operator.dtype == "uint8" or "bytes" in operator.name:
        np.testing.assert_array_equal(result, operator.expected(*inputs))
    # The sums of at most a few thousand normal float32 numbers: far above their rounding errors.
    np.testing.assert_allclose(result, expected, operator.tolerance, operator.tolerance)
    plain = [f for f in mod.functions.values() if isinstance(f, tirx.PrimFunc) and PLAIN in f.attrs]
    assert bool(plain) == operator.plain


def sum_of_codes(shape, other, target) -> tvm.IRModule:
    """clamp(rint((x - 31) * 0.3 + (y - 3) * 0.7) + 5), scheduled."""
    parameters = {"scales": (0.3, 0.7), "zeros": (31, 3), "zero_point": 5}

    def summed(x, y):
        return add(x, y, **parameters, low=0, high=255, dtype="uint8")

    operator = Operator("sum", [shape, other], summed, None, dtype="uint8")
    return scheduled(fused(operator), target)


@pytest.mark.parametrize("shape", [(1, 12, 80, 28), (6, 12, 80, 44), (16, 5, 4, 20)])
def test_vectors_across_rows_are_one_run_of_memory(shape, target):
    mod = sum_of_codes(shape, shape, target)
    (kernel,) = (f for f in mod.functions.values() if isinstance(f, tirx.PrimFunc))
    divisions = []

    def note(node):
        if "x" in str(node.ty):
            divisions.append(node)

    body = lower(kernel, target.tvm_target()).body
    tvm_ffi.structural_walk(body, ((tirx.Div, tirx.Mod), note))
    assert divisions == []


@pytest.mark.parametrize(
    ("shape", "other"),
    [
        ((1, 9, 508), (1, 9, 1)),
        ((2, 3, 5, 70, 9), (2, 3, 5, 70, 9)),
        ((4, 3, 31, 17), (4, 1, 1, 17)),
        ((40, 67), ()),
    ],
)
def test_sums_of_codes_are_vectors_whatever_the_length_of_a_row(shape, other, target):
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 256, s, dtype="uint8") for s in (shape, other))
    mod = sum_of_codes(shape, other, target)
    (kernel,) = (f for f in mod.functions.values() if isinstance(f, tirx.PrimFunc))
    kinds = []
    tvm_ffi.structural_walk(kernel.body, (tirx.For, lambda loop: kinds.append(loop.kind)))
    assert tirx.ForKind.VECTORIZED in kinds
    machine = relax.VirtualMachine(tvm.compile(mod, target=target.tvm_target()), tvm.cpu())
    result = machine["main"](tvm.runtime.tensor(a), tvm.runtime.tensor(b)).numpy()
    left = (a.astype("float32") - np.float32(31)) * np.float32(0.3)
    right = (b.astype("float32") - np.float32(3)) * np.float32(0.7)
    np.testing.assert_array_equal(result, np.clip(np.rint(left + right) + 5, 0, 255))
