"""Kernels on modelled cores: each gets a time, no shorter than its products take."""

import shutil

import pytest

from qcompile.measure.layers import convolution, product
from qcompile.measure.modelled import modelled_seconds
from qcompile.measure.samples import measure
from qcompile.targets import load_target

pytestmark = [
    pytest.mark.emulated,
    pytest.mark.skipif(
        not all(map(shutil.which, ("qemu-aarch64", "qemu-arm", "llvm-mca-19", "llvm-mc-19"))),
        reason="needs qemu-user and llvm-19",
    ),
]
LAYERS = {
    product(8, 256, 64, (8, 8)): 8 * 256 * 64,
    convolution(6, 32, 32, (1, 1)): 6 * 6 * 9 * 32 * 32,
}
# Products of int8 in a cycle: of two pipes, which take 64 bits of them on these two cores.
MOST = {"rpi4": 8, "armv7-a9": 8}


@pytest.mark.parametrize("name", MOST)
def test_kernels_take_as_long_as_their_products(name):
    target = load_target(name)
    samples = measure(LAYERS, target, modelled_seconds)
    kernels = {s.work.kernel: s for s in samples if not s.packing}
    assert set(kernels) == {"dense_int8", "conv2d_int8", "conv2d_bits"}
    for kernel in ("dense_int8", "conv2d_int8"):
        cycles = kernels[kernel].seconds * target.clock_hz
        least = LAYERS[kernels[kernel].layer] / MOST[name]
        assert least <= cycles <= 20 * least
    assert kernels["conv2d_bits"].seconds < kernels["conv2d_int8"].seconds


def test_times_are_the_same_each_time():
    target, layers = load_target("rpi4"), list(LAYERS)[:1]
    assert measure(layers, target, modelled_seconds) == measure(layers, target, modelled_seconds)
