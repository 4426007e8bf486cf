"""Decisions reach kernels on bits by their layers; replan makes the same of a fused kernel."""

import numpy as np
import pytest
import tvm
import tvm_ffi
from tvm import relax, tirx

from qcompile.ops import batch_matmul, conv2d, dense
from qcompile.passes.replan import anchor_of, replan
from qcompile.pipeline import lower_passes, task_passes
from qcompile.targets import load_target
from tests.passes.modules import module
from tests.passes.test_lower_bits import BITS_ALWAYS, PACKED_ALWAYS

SIGNS = {"bits": (1, 1), "codes": (-1, 2)}


def signs(*shape):
    return relax.const(np.random.default_rng(0).choice([-1, 1], shape).astype("int8"))


def bias(columns):
    return relax.const(np.arange(columns, dtype="int32"))


def convolution():
    def body(emit, x):
        w, b = signs(48, 3, 3, 128), bias(48)
        geometry = {"strides": (1, 1), "padding": (1, 1, 1, 1), "dilation": (1, 1)}
        return conv2d(x, w, b, groups=1, zero_point=0, layer="layer", **SIGNS, **geometry)

    return module(body, ((1, 5, 6, 128), "int8"))


def product():
    def body(emit, x):
        return dense(x, signs(40, 256), bias(40), zero_point=0, layer="layer", **SIGNS)

    return module(body, ((7, 256), "int8"))


def batch():
    def body(emit, a, b):
        pair = {"zeros": (1, 0), "bits": (2, 1), "codes": ((0, 1), (-1, 2))}
        return batch_matmul(a, b, layer="layer", **pair)

    return module(body, ((2, 6, 64), "uint8"), ((2, 64, 48), "int8"))


def unpacked():
    def body(emit, x):
        w = np.random.default_rng(0).integers(-8, 8, (64, 128), "int8")
        attributes = {"bits": (8, 4), "codes": (0, 1), "layer": "layer"}
        return dense(x, relax.const(w), bias(64), zero_point=3, **attributes)

    return module(body, ((1, 128), "uint8"))


NETWORKS = {
    "conv2d_bits": (convolution, BITS_ALWAYS),
    "dense_bits": (product, BITS_ALWAYS),
    "batch_matmul_bits": (batch, BITS_ALWAYS),
    "dense_packed": (unpacked, PACKED_ALWAYS),
}
TARGETS = ["znver4", "x86-64-v3", "rpi4", "armv7-a9"]


def task(name, target, decided):
    """The one function with an anchor."""
    network, costs = NETWORKS[name]
    passes = [*lower_passes(target, costs, decided), *task_passes()]
    functions = tvm.transform.Sequential(passes)(network()).functions.values()
    (found,) = [f for f in functions if isinstance(f, tirx.PrimFunc) and anchor_of(f)]
    return found


def same(a, b):
    return tvm_ffi.structural_equal(a.body, b.body, map_free_vars=True)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", NETWORKS)
def test_no_decisions_change_nothing(name, target):
    target = load_target(target)
    function = task(name, target, {})
    assert tvm_ffi.structural_equal(function, replan(function, {}, target))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", NETWORKS)
def test_lowering_and_replan_agree(name, target):
    """Whatever the layer was lowered with; the plan has changed."""
    target = load_target(target)
    default = task(name, target, {})
    anchor = anchor_of(default)
    space = anchor.tunable.space(anchor.problem, target)
    last = {decision.name: decision.choices[-1] for decision in space.decisions}
    for decisions in [last, *({d.name: d.choices[-1]} for d in space.decisions)]:
        chosen = space.chosen(decisions)
        lowered = task(name, target, {(anchor.operator, "layer"): decisions})
        assert same(replan(default, decisions, target), lowered)
        assert same(replan(lowered, {}, target), default)
        assert same(lowered, default) == (chosen == space.chosen({}))
