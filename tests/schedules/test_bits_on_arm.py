"""Kernels on bits for ARM against NumPy, exactly, in both forms of counting."""

import itertools

import numpy as np
import pytest

from qcompile.schedules.conv2d_bits import pack_weights
from qcompile.schedules.dense_bits_plan import plan_dense_bits
from qcompile.targets import load_target
from tests.schedules.bit_convolution import convolve, operands, plan_of, prepared
from tests.schedules.bit_convolution import kernel as conv2d_kernel
from tests.schedules.bit_products import arrays_of
from tests.schedules.bit_products import kernel as dense_kernel
from tests.schedules.bit_products import operands as dense_operands
from tests.schedules.bits import WIDTHS, Width, weighted_sum
from tests.schedules.convolution import Case
from tests.schedules.covering import on_targets
from tests.schedules.kernels import (
    build,
    int8_target,
    requantized,
    requantized_reference,
    run,
    runnable,
)
from tests.schedules.packing import packed_codes, packed_reference, thresholds_of

TARGETS = [pytest.param(name, marks=pytest.mark.emulated) for name in ("rpi3", "rpi4", "armv7-a9")]
FORMS = {"aarch64": ("uadalp", "addp"), "armv7": ("vpadal", "vpadd")}

# Layers like ResNet-18's; sizes that no tile divides; the most words that bytes can count.
CASES = [
    Case((1, 4, 14, 64), 64),
    Case((1, 5, 7, 128), 40),
    Case((2, 3, 5, 40), 24, strides=(2, 1)),
    Case((1, 2, 3, 992), 8, kernel=(1, 1), pads=(0, 0, 0, 0)),
    Case((1, 5, 11, 80), 80, groups=2),
]
WHOLE = [CASES[1], Case((1, 7, 7, 256), 64), Case((1, 3, 4, 512), 17, strides=(2, 2))]
SHAPES = [(5, 992, 33), (13, 17, 5), (7, 256, 72)]


@pytest.fixture(params=TARGETS)
def target(request):
    return runnable(int8_target(request.param))


def form_of(target, tree):
    if "dotprod" in target.features and not tree:
        return "udot"
    return FORMS[target.architecture.name][tree]


@on_targets(
    2, TARGETS, ("case", "tree"), [*((c, False) for c in CASES), *((c, True) for c in WHOLE)]
)
def test_convolves(case, tree, target):
    width = WIDTHS[(sum(case.data) + case.outputs) % len(WIDTHS)]
    plan = plan_of(case, width, target, form_of(target, tree))
    library = build(conv2d_kernel(plan, requantized, [((case.outputs,), "float32")]), target)
    for seed in range(3):
        codes, values, bias, scale = operands(case, width, seed)
        sums = convolve(codes, values, case, width, 0) + bias
        expected = requantized_reference(sums, scale)
        x = prepared(codes, case, width, plan, 0, np.random.default_rng(1))
        arrays = [x, pack_weights(width.weight_planes(values), plan), bias, scale]
        np.testing.assert_array_equal(run(library, arrays, expected), expected)


@pytest.mark.emulated
@pytest.mark.parametrize("case", CASES[2:4], ids=str)
def test_adds_up_by_dot_products(case):
    test_convolves(case, False, runnable(load_target("rpi5")))


@on_targets(
    2, TARGETS, ("width", "tree"), list(itertools.product(WIDTHS[::2] + WIDTHS[-1:], (False, True)))
)
def test_convolves_planes_and_packs(width, tree, target):
    """No bit set, all bits set, and any."""
    case = Case((1, 3, 6, 128), 64)
    plan = plan_of(case, width, target, form_of(target, tree))
    levels = 2**width.data_bits - 1
    library = build(conv2d_kernel(plan, packed_codes, [((levels, 64), "int32")]), target)
    for seed in range(3):
        codes, values, bias, _ = operands(case, width, 1)
        if seed < 2:
            codes[:] = seed * (2**width.data_bits - 1)
            values[:] = values.max() if width.operation == "xor" else -1
        sums = convolve(codes, values, case, width, 0) + bias
        thresholds = thresholds_of(sums, levels, np.random.default_rng(seed))
        x = prepared(codes, case, width, plan, 0, np.random.default_rng(1))
        arrays = [x, pack_weights(width.weight_planes(values), plan), bias, thresholds]
        expected = packed_reference(sums, thresholds)
        np.testing.assert_array_equal(run(library, arrays, expected), expected)


@pytest.mark.parametrize(
    ("shape", "tree"), [*((s, False) for s in SHAPES), (SHAPES[2], True)], ids=str
)
def test_multiplies(shape, tree, target):
    width = WIDTHS[sum(shape) % len(WIDTHS)]
    plan = plan_dense_bits(*shape, width.planes, target, form=form_of(target, tree))
    library = build(dense_kernel(plan, lambda sums: sums, []), target)
    for seed in range(3):
        codes, values, bias, _ = dense_operands(width, shape, seed)
        expected = (weighted_sum(width, codes, values) + bias).astype("int32")
        arrays = [*arrays_of(width, codes, values, plan), bias]
        np.testing.assert_array_equal(run(library, arrays, expected), expected)


def test_counts_as_many_bits_as_a_sum_holds(target):
    """65 408 set bits: the sums of a tree have 16 bits."""
    shape, width = (2, 511 * 128, 8), Width("and", 1, 1)
    plan = plan_dense_bits(*shape, width.planes, target, form=form_of(target, True))
    codes, values = np.ones(shape[:2], "uint8"), np.full((8, shape[1]), -1)
    library = build(dense_kernel(plan, lambda sums: sums, []), target)
    expected = np.full((2, 8), -shape[1], "int32")
    arrays = [*arrays_of(width, codes, values, plan), np.zeros(8, "int32")]
    np.testing.assert_array_equal(run(library, arrays, expected), expected)


@pytest.mark.parametrize("name", ["rpi3", "rpi4", "rpi5", "neoverse-n2", "armv7-a9"])
def test_chooses_by_the_words(name):
    """Whole vectors of 128 bits make a tree on AArch64; others, and sums beyond 16 bits, do not."""
    target, width = load_target(name), WIDTHS[0]

    def form(channels: int) -> str:
        return plan_of(Case((1, 7, 7, channels), 64), width, target).popcount.form

    assert form(128) == ("vpadal" if name == "armv7-a9" else "addp")
    assert form(96) == form(128 * 57) == form_of(target, False)
