"""Which loops threads share changes nothing of what kernels on codes and bits compute."""

import numpy as np
import pytest
import tvm_ffi
from tvm import tirx

from qcompile.schedules.conv2d_bits_plan import Conv2dBitsProblem
from qcompile.schedules.conv2d_plan import Conv2dProblem
from qcompile.schedules.dense_bits_plan import DenseBitsProblem
from qcompile.schedules.dense_int8 import DenseProblem
from qcompile.schedules.space import CHUNKS
from qcompile.schedules.tunables import TUNABLES
from qcompile.targets import load_target
from tests.schedules.kernels import runnable
from tests.schedules.spaces import kernel, results

BITS = ("xor", ((-2,),))
CASES = [
    ("conv2d_int8", Conv2dProblem((1, 6, 20, 16), (40, 3, 3, 16)), 40),
    ("dense_int8", DenseProblem(37, 64, 100), 100),
    ("dense_int8", DenseProblem(37, 64, 100, batch=3), 0),
    ("conv2d_bits", Conv2dBitsProblem((1, 6, 20, 64), (40, 3, 3, 64), *BITS), 40),
    ("dense_bits", DenseBitsProblem(37, 96, 100, *BITS), 100),
    ("dense_bits", DenseBitsProblem(37, 96, 100, *BITS, batch=3), 0),
]


@pytest.fixture(params=["x86-64-v3", "znver4"])
def target(request):
    return runnable(load_target(request.param))


def others(outputs):
    return [np.arange(outputs, dtype="int32")] if outputs else []


def parallel_iterations(func):
    found = []
    tvm_ffi.structural_walk(
        func.body,
        (tirx.For, lambda f: found.append(int(f.extent)) if f.kind == tirx.ForKind.PARALLEL else 0),
    )
    return found


@pytest.mark.parametrize("order", ["data", "weights"])
@pytest.mark.parametrize(("operator", "problem", "outputs"), CASES)
def test_computes_the_same(operator, problem, outputs, order, target):
    decided = [{"order": order, "chunks": chunks} for chunks in CHUNKS]
    found = list(results(operator, problem, target, decided, others(outputs), "int32"))
    for y in found[1:]:
        np.testing.assert_array_equal(y, found[0])


LARGE = [
    ("conv2d_int8", Conv2dProblem((1, 6, 60, 16), (96, 3, 3, 16)), 96),
    ("dense_int8", DenseProblem(200, 64, 400), 400),
    ("dense_int8", DenseProblem(200, 64, 400, batch=3), 0),
    ("conv2d_bits", Conv2dBitsProblem((1, 6, 60, 64), (96, 3, 3, 64), *BITS), 96),
    ("dense_bits", DenseBitsProblem(200, 64, 400, *BITS), 400),
    ("dense_bits", DenseBitsProblem(200, 64, 400, *BITS, batch=3), 0),
]


@pytest.mark.parametrize(("operator", "problem", "outputs"), LARGE)
def test_tiles_are_more_chunks_than_outer_loops(operator, problem, outputs):
    target = load_target("znver4")
    none, outer, tiles = (
        parallel_iterations(kernel(operator, problem, target, {"chunks": c}, others(outputs))[0])
        for c in CHUNKS
    )
    assert none == []
    assert 1 == len(outer) == len(tiles)
    assert outer < tiles


def test_small_work_is_not_shared_by_default():
    target = load_target("znver4")
    space = TUNABLES["dense_int8"].space
    default = [space(DenseProblem(rows, 512, 1000), target).chosen({}) for rows in (1, 512)]
    assert [each["chunks"] for each in default] == ["none", "tiles"]
