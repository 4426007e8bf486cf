"""Which kernels a layer has, what they are predicted to take, and why others are impossible."""

from dataclasses import replace

import pytest

from qcompile.measure.layers import convolution, product
from qcompile.passes.kernel_costs import MAX_PAIRS, estimates_of, parts_of
from qcompile.passes.kernel_work import bits_work, int8_work
from qcompile.passes.layers import Geometry
from qcompile.targets import load_target
from qcompile.targets.costs import KERNELS, Costs, KernelCost

TARGET = load_target("znver4")
NOTHING = KernelCost(*[0.0] * 9)


def costs(read_s=0.0, pack_s=0.0, copy_s=0.0, **kernels):
    """A table in which only the named costs of kernels are not zero."""
    named = {name: replace(NOTHING, **kernels.get(name, {})) for name in KERNELS}
    return Costs(named, read_s, pack_s, copy_s, "test")


def possible(layer, table=None):
    found = estimates_of(layer, TARGET, table or costs())
    return {one.kernel for one in found if one.reason is None}


def reasons(layer):
    return {one.kernel: one.reason for one in estimates_of(layer, TARGET, costs()) if one.reason}


def test_kernels_of_layers_of_few_bits():
    assert possible(convolution(8, 64, 32, (2, 2))) == {"conv2d_int8", "conv2d_bits"}
    assert possible(product(8, 64, 32, (2, 2))) == {"dense_int8", "dense_packed", "dense_bits"}


def test_says_why_kernels_are_impossible():
    assert reasons(product(8, 64, 32, (8, 8))) == {
        "dense_packed": "weights take more than 4 bits",
        "dense_bits": f"8 x 8 planes are 64 pairs; up to {MAX_PAIRS} can be faster than int8",
    }
    deep = reasons(product(1, 100_000, 8, (1, 1)))
    assert set(deep) == {"dense_packed"} and "100000" in deep["dense_packed"]


def test_a_depthwise_convolution_has_its_own_kernel():
    layer = replace(
        convolution(8, 32, 32, (1, 1)),
        w=(32, 3, 3, 1),
        geometry=Geometry((1,) * 4, (1, 1), (1, 1), 32),
    )
    only, bits = estimates_of(layer, TARGET, costs())
    assert (only.kernel, only.predicted_us) == ("depthwise_conv2d_int8", None)
    assert bits.kernel == "conv2d_bits" and "one channel a group" in bits.reason


@pytest.mark.parametrize(
    ("limit", "table"),
    [
        ("compute", costs(conv2d_bits={"step_s": 1e-9})),
        ("epilogue", costs(conv2d_bits={"output_s": 1e-9})),
        ("memory", costs(conv2d_bits={"near_byte_s": 1e-9})),
        ("packing", costs(pack_s=1e-9)),
        ("call", costs(conv2d_bits={"call_s": 1e-9})),
    ],
)
def test_tells_what_limits_a_kernel(limit, table):
    layer = convolution(14, 512, 512, (1, 1))
    (bits,) = (one for one in estimates_of(layer, TARGET, table) if one.kernel == "conv2d_bits")
    assert bits.limit == limit
    parts = parts_of(bits_work(layer, TARGET), table)
    assert {part for part, seconds in parts.items() if seconds} == {limit}
    assert bits.predicted_us == pytest.approx(1e6 * parts[limit], abs=1e-3)


def test_the_fastest_kernel_comes_first():
    layer = product(64, 256, 64, (1, 1))
    for name in ("dense_int8", "dense_packed", "dense_bits"):
        slow = {other: {"call_s": 1e-3} for other in KERNELS if other != name}
        assert estimates_of(layer, TARGET, costs(**slow))[0].kernel == name


def test_work_counts_the_products():
    """Vectors of products times their lanes are at least the products, and not many more."""
    layer = convolution(14, 256, 256, (2, 1))
    products = 14 * 14 * 256 * 256 * 9
    int8, bits = int8_work(layer, TARGET), bits_work(layer, TARGET)
    assert products <= int8.steps * 16 * 4 <= 1.2 * products
    assert 2 * products <= bits.steps * 16 * 32 <= 1.2 * 2 * products
    assert bits.packed == 2 * bits.read == 2 * 14 * 14 * 8
    assert int8.outputs * 16 >= 14 * 14 * 256
