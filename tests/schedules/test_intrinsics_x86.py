"""Each dot product against its meaning, on the processor."""

from dataclasses import replace

import numpy as np
import pytest
import tvm
from tvm import s_tir, te

from qcompile.errors import Unsupported
from qcompile.schedules.intrinsics import dot_of, register_intrinsics
from qcompile.targets import Target, host_features, load_target
from tests.schedules.kernels import INT8_TARGETS, int8_target

TARGETS = ["x86-64-v3", "alderlake", "skylake-avx512", "cascadelake", "znver4"]


@pytest.fixture(params=INT8_TARGETS)
def target(request):
    found = int8_target(request.param)
    if not found.runs_on(host_features()):
        pytest.skip(f"this processor cannot run {found.name}")
    return found


def shape(target: Target) -> tuple[int, int]:
    return dot_of(target).lanes, dot_of(target).depth


def dot_product(target: Target, steps: int, tensorize: bool) -> tvm.runtime.Module:
    """sums[lane] = sum over k of a[k] * b[k / 4, lane, k % 4], by the instruction or by loops."""
    lanes, depth = shape(target)
    a = te.placeholder((steps * depth,), "uint8", name="a")
    b = te.placeholder((steps, lanes, depth), "int8", name="b")
    k = te.reduce_axis((0, steps * depth), name="k")

    def entry(i):
        return te.sum(a[k].astype("int32") * b[k // depth, i, k % depth].astype("int32"), axis=k)

    sums = te.compute((lanes,), entry, name="sums")
    c = te.compute((lanes,), lambda i: sums[i], name="c")
    sch = s_tir.Schedule(te.create_prim_func([a, b, c]))
    block = sch.get_sblock("sums")
    sch.set_scope(block, 0, "local")
    lane, k = sch.get_loops(block)
    step, byte = sch.split(k, [None, depth])
    sch.reorder(step, lane, byte)
    sch.decompose_reduction(block, step)
    if tensorize:
        register_intrinsics(target)
        sch.tensorize(lane, f"{dot_of(target).name}_1")
    return tvm.compile(sch.mod, target=target.tvm_target())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("extreme", [False, True])
def test_instruction_means_the_loops(target, seed, extreme):
    steps, (lanes, depth) = 6, shape(target)
    rng = np.random.default_rng(seed)
    if extreme:
        a = rng.choice(np.array([0, 255], "uint8"), steps * depth)
        b = rng.choice(np.array([-128, 127], "int8"), (steps, lanes, depth))
    else:
        a = rng.integers(0, 256, steps * depth, dtype="uint8")
        b = rng.integers(-128, 128, (steps, lanes, depth), dtype="int8")
    expected = np.einsum("sk,slk->l", a.reshape(steps, depth).astype("int64"), b.astype("int64"))

    for tensorize in (False, True):
        sums = tvm.runtime.tensor(np.zeros(lanes, "int32"))
        dot_product(target, steps, tensorize)(tvm.runtime.tensor(a), tvm.runtime.tensor(b), sums)
        np.testing.assert_array_equal(sums.numpy(), expected)


def test_largest_products_do_not_saturate(target):
    lanes, depth = shape(target)
    a, b = np.full(depth, 255, "uint8"), np.full((1, lanes, depth), -128, "int8")
    sums = tvm.runtime.tensor(np.zeros(lanes, "int32"))
    dot_product(target, 1, tensorize=True)(tvm.runtime.tensor(a), tvm.runtime.tensor(b), sums)
    assert (sums.numpy() == -255 * 128 * depth).all()


def test_chooses_by_features():
    assert [shape(load_target(name)) for name in TARGETS] == [
        (8, 4), (8, 4), (16, 4), (16, 4), (16, 4),
    ]  # fmt: skip
    names = {name: dot_of(load_target(name)).name for name in TARGETS}
    assert names["x86-64-v3"].endswith("widen_256")
    assert names["alderlake"].endswith("vnni_256")
    assert names["skylake-avx512"].endswith("widen_512")
    assert names["znver4"].endswith("vnni_512")


def test_refuses_processors_without_a_dot_product():
    old = replace(load_target("x86-64-v3"), features=("sse3",))
    with pytest.raises(Unsupported, match="avx2"):
        dot_of(old)
