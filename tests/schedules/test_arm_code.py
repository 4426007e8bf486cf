"""What LLVM makes of loops for ARM processors."""

import numpy as np
import pytest
import tvm
from tvm import te

from tests.schedules.kernels import EMULATED_TARGETS, build, int8_target, runnable


@pytest.fixture(params=EMULATED_TARGETS)
def target(request):
    return runnable(int8_target(request.param))


@pytest.mark.parametrize("shape", [(3, 3, 64), (5, 3, 32), (1, 1, 40)])
def test_transposes_to_runs_of_odd_length(target, shape):
    """LLVM's merging of neighbouring stores lost every sixteenth row of ARMv7."""
    x = te.placeholder(shape, "float32", name="x")
    turned = te.compute((shape[2], *shape[:2]), lambda c, i, j: x[i, j, c], name="turned")
    values = np.arange(np.prod(shape), dtype="float32").reshape(shape)
    out = tvm.runtime.tensor(np.zeros((shape[2], *shape[:2]), "float32"))
    build(te.create_prim_func([x, turned]), target)(tvm.runtime.tensor(values), out)
    np.testing.assert_array_equal(out.numpy(), values.transpose(2, 0, 1))
