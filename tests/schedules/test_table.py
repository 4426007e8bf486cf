"""table against NumPy, alone and between elementwise operators."""

import itertools

import numpy as np
import pytest
import tvm_ffi
from tvm import s_tir, te, tirx
from tvm.relax import op

from qcompile.export.lower import lower
from qcompile.schedules import schedule
from qcompile.schedules.lookup import permute_lookups
from qcompile.schedules.table import table
from qcompile.targets import load_target
from tests.schedules.covering import on_targets
from tests.schedules.kernels import ARM_TARGETS, build, compiled, fused_function, run, runnable

TARGETS = ["x86-64-v3", "znver4", *ARM_TARGETS]
SHAPES = [(1, 7, 7, 64), (3, 5), (1, 1, 1, 1000), (1, 56, 56, 24)]
TYPES = ["uint8", "int8"]


@pytest.fixture(params=TARGETS)
def target(request):
    return runnable(load_target(request.param))


@on_targets(2, TARGETS, ("shape", "dtype", "result"), list(itertools.product(SHAPES, TYPES, TYPES)))
def test_looks_up(shape, dtype, result, target):
    rng = np.random.default_rng(0)
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    x = rng.integers(low, high + 1, shape, dtype=dtype)
    entries = rng.permutation(256).astype("uint8").view(result)
    expected = entries[x.astype("int64") - low]
    operands = [(x.shape, dtype), ((256,), result)]
    func = fused_function(operands, table, lambda y: y, 2)
    np.testing.assert_array_equal(run(build(func, target), [x, entries], expected), expected)


def test_looks_up_every_code(target):
    x = np.arange(256, dtype="uint8")
    entries = np.random.default_rng(1).integers(0, 256, 256, dtype="uint8")
    func = fused_function([(x.shape, "uint8"), ((256,), "uint8")], table, lambda y: y, 2)
    np.testing.assert_array_equal(run(build(func, target), [x, entries], entries), entries)


@pytest.mark.parametrize("shape", [(1, 6, 80, 480), (1, 12, 80, 240), (1, 56, 56, 24)])
def test_vectors_across_rows_are_one_run_of_memory(shape, target):
    placeholders = [te.placeholder(shape, "uint8"), te.placeholder((256,), "uint8")]
    func = schedule(te.create_prim_func([*placeholders, table(*placeholders)]), target)
    divisions = []

    def note(node):
        if "x" in str(node.ty):
            divisions.append(node)

    body = lower(func, target.tvm_target()).body
    tvm_ffi.structural_walk(body, ((tirx.Div, tirx.Mod), note))
    assert divisions == []


@pytest.mark.parametrize("lanes", [1, 4, 16, 32, 48, 64, 128])
def test_vectors_of_any_length(lanes, target):
    x = np.random.default_rng(3).integers(0, 256, 4 * lanes, dtype="uint8")
    entries = np.random.default_rng(4).permutation(256).astype("int8")
    placeholders = [te.placeholder(a.shape, str(a.dtype)) for a in (x, entries)]
    sch = s_tir.Schedule(te.create_prim_func([*placeholders, table(*placeholders)]))
    _, lane = sch.split(sch.get_loops(sch.get_sblock("looked_up"))[0], [None, lanes])
    sch.vectorize(lane)
    func = permute_lookups(sch.mod["main"], target)
    library = compiled(func, target)
    expected = entries[x]
    np.testing.assert_array_equal(run(library, [x, entries], expected), expected)


@pytest.mark.parametrize("shape", [(1, 6, 6, 48), (1, 3, 5, 7)])
def test_fuses_what_follows(shape, target):
    rng = np.random.default_rng(2)
    x, other = (rng.integers(0, 256, shape, dtype="uint8") for _ in range(2))
    entries = rng.integers(0, 256, 256, dtype="uint8")
    expected = np.maximum(entries[x], other)
    operands = [(x.shape, "uint8"), ((256,), "uint8"), (x.shape, "uint8")]
    func = fused_function(operands, table, lambda y, other: op.maximum(y, other), 2)
    y = run(build(func, target), [x, entries, other], expected)
    np.testing.assert_array_equal(y, expected)
