"""Layers become kernels, and every kernel gets a time."""

from functools import partial

import pytest

from qcompile.measure.clock import Bursts, seconds_of
from qcompile.measure.layers import convolution, grid, product, quick_grid, random_grid
from qcompile.measure.samples import measure
from qcompile.passes.kernel_costs import possible_kernels
from qcompile.targets import load_target

TARGET = load_target("x86-64-v3")
ONCE = Bursts(rounds=1, count=1, seconds=1e-6)


def test_every_kernel_is_timed_once():
    layers = [
        product(4, 70, 33, (1, 1)),
        product(4, 70, 33, (2, 2)),
        convolution(6, 40, 16, (1, 1)),
    ]
    samples = measure(layers, TARGET, partial(seconds_of, bursts=ONCE))
    assert all(sample.seconds > 0 for sample in samples)
    kernels = [(s.work.kernel, s.layer.data_bits) for s in samples if not s.packing]
    # int8 and weights packed to 2 bits are the same for both widths.
    assert sorted(kernels) == [
        ("conv2d_bits", 1),
        ("conv2d_int8", 1),
        ("dense_bits", 1),
        ("dense_bits", 2),
        ("dense_int8", 1),
        ("dense_packed", 1),
    ]
    packing = {s.work.kernel for s in samples if s.packing and (s.work.packed or s.work.copied)}
    assert packing == {"conv2d_bits", "conv2d_int8", "dense_bits", "dense_int8", "dense_packed"}


@pytest.mark.parametrize("layers", [grid(), quick_grid()], ids=["grid", "quick_grid"])
def test_grids_tell_what_a_table_holds(layers):
    works = [work(layer, TARGET) for layer in layers for work in possible_kernels(layer)]
    kernels = {work.kernel for work in works}
    assert len(kernels) == 5
    for count in ("read", "packed", "copied", "far_bytes", "near_bytes"):
        assert any(getattr(work, count) for work in works), count


def test_layers_of_the_test_are_not_those_of_the_fit():
    assert not set(grid()) & set(random_grid(60))
