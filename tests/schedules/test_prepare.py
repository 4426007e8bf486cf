"""prepare against NumPy, alone and with what produces the codes computed on the way."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
import tvm
from tvm import relax, te, tirx
from tvm.relax import op

from qcompile.passes.declared_patterns import DeclaredPatterns
from qcompile.schedules.prepare import prepare
from qcompile.schedules.table import table
from qcompile.targets import load_target
from tests.schedules.covering import on_targets
from tests.schedules.kernels import ARM_TARGETS, build, run, runnable

INJECTIVE = 2


@dataclass(frozen=True)
class Case:
    """x (N, H, W, C); pads: (top, left, bottom, right); the channels and columns asked for."""

    data: tuple[int, int, int, int]
    pads: tuple[int, int, int, int]
    channels: int
    columns: int


CASES = [
    Case((1, 14, 14, 64), (1, 1, 1, 1), 64, 16),
    Case((1, 7, 7, 20), (1, 1, 1, 1), 32, 9),
    Case((2, 6, 5, 24), (1, 2, 0, 1), 24, 9),
    Case((1, 13, 18, 3), (3, 3, 3, 3), 4, 24),
    Case((1, 13, 19, 3), (3, 3, 2, 3), 3, 27),
    Case((1, 9, 35, 1), (1, 1, 1, 1), 1, 37),
    Case((2, 8, 33, 2), (1, 0, 1, 1), 2, 40),
    Case((1, 9, 16, 4), (0, 0, 0, 0), 4, 16),
    Case((1, 1, 50, 40), (0, 4, 3, 4), 48, 60),
    Case((1, 5, 5, 8), (0, 0, 0, 0), 16, 5),
    Case((2, 32, 32, 3), (1, 1, 1, 1), 3, 34),
    Case((1, 13, 21, 10), (0, 1, 2, 1), 10, 23),
    Case((1, 590, 592, 3), (1, 1, 1, 1), 3, 594),
    Case((1, 180, 180, 32), (1, 1, 1, 1), 32, 182),
]


TARGETS = ["x86-64-v3", "znver4", *ARM_TARGETS]


@pytest.fixture(params=TARGETS)
def target(request):
    return runnable(load_target(request.param))


def padded(codes, case, zero):
    """What prepare makes of uint8 codes (N, H, W, C)."""
    (top, left, bottom, _), (_, _, w, c) = case.pads, codes.shape
    right = case.columns - left - w
    padding = (0, 0), (top, bottom), (left, right), (0, case.channels - c)
    return np.pad(codes, padding, constant_values=zero)


def fused(shape, dtype, producer, case, zero):
    """The PrimFunc of prepare(producer(x)), made by TVM's fusion."""
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType(shape, dtype))

    def anchor(x: te.Tensor) -> te.Tensor:
        return prepare(
            x, pads=case.pads, channels=case.channels, columns=case.columns, zero=zero, layer="l"
        )

    with builder.function("main", [x]):
        with builder.dataflow():
            codes = builder.emit(producer(x))
            made = builder.emit_te(
                anchor,
                codes,
                primfunc_name_hint="prepare",
                primfunc_attrs={"op_pattern": INJECTIVE},
            )
            result = builder.emit_output(made)
        builder.emit_func_output(result)
    module = tvm.transform.Sequential(
        [
            relax.transform.LegalizeOps(),
            relax.transform.AnnotateTIROpPattern(),
            DeclaredPatterns(),
            relax.transform.FuseOps(),
            relax.transform.FuseTIR(),
            relax.transform.DeadCodeElimination(),
        ]
    )(builder.get())
    (func,) = [f for f in module.functions.values() if isinstance(f, tirx.PrimFunc)]
    return func


@on_targets(2, TARGETS, ("case", "dtype"), list(itertools.product(CASES, ("uint8", "int8"))))
def test_pads(case, dtype, target):
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    x = np.random.default_rng(0).integers(low, high + 1, case.data, dtype=dtype)
    expected = padded((x.astype("int32") - low).astype("uint8"), case, 130)
    func = fused(x.shape, dtype, lambda x: op.maximum(x, x), case, 130)
    np.testing.assert_array_equal(run(build(func, target), [x], expected), expected)


@on_targets(
    2,
    TARGETS,
    ("case", "planar", "dtype"),
    [(case, *how) for case in CASES for how in ((True, "uint8"), (False, "int8"))],
)
def test_quantizes_on_the_way(case, planar, dtype, target):
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    n, h, w, c = case.data
    x = np.random.default_rng(1).normal(0, 2, (n, c, h, w) if planar else case.data)
    x = x.astype("float32")

    def quantize(x):
        real = op.divide(x, relax.const(0.03, "float32"))
        real = op.clip(op.add(op.round(real), relax.const(3.0, "float32")), low, high)
        codes = op.astype(op.astype(real, "int32"), dtype)
        return op.permute_dims(codes, [0, 2, 3, 1]) if planar else codes

    nhwc = x.transpose(0, 2, 3, 1) if planar else x
    codes = np.clip(np.rint(nhwc / np.float32(0.03)) + 3, low, high).astype("int32") - low
    expected = padded(codes.astype("uint8"), case, 7)
    func = fused(x.shape, "float32", quantize, case, 7)
    np.testing.assert_array_equal(run(build(func, target), [x], expected), expected)


@on_targets(2, TARGETS, "case", CASES[:6])
def test_looks_up_on_the_way(case, target):
    rng = np.random.default_rng(2)
    x, entries = rng.integers(0, 256, case.data, dtype="uint8"), rng.permutation(256)
    entries = entries.astype("uint8")

    def look_up(x):
        return relax.BlockBuilder.current().call_te(table, x, relax.const(entries))

    func = fused(x.shape, "uint8", look_up, case, 9)
    expected = padded(entries[x], case, 9)
    np.testing.assert_array_equal(run(build(func, target), [x, entries], expected), expected)
