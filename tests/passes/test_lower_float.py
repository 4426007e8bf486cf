"""Float convolutions on the way to their kernels, against NumPy."""

import numpy as np
import pytest
import tvm
from tvm import tirx
from tvm.relax.op import nn

from qcompile.passes.lower_float import LowerFloat
from qcompile.passes.replan import anchor_of
from qcompile.targets import load_target
from tests.passes import references
from tests.passes.modules import const, module, run

RNG = np.random.default_rng(0)
TARGET = load_target("x86-64-v3")


def lowered(x, w, **attributes) -> tvm.IRModule:
    """conv2d of images (N, H, W, C) with weights (O, C / groups, KH, KW)."""
    options = {"data_layout": "NHWC", "kernel_layout": "OIHW", **attributes}
    mod = module(lambda emit, x: nn.conv2d(x, const(w), **options), (x.shape, "float32"))
    return LowerFloat(TARGET)(mod)


@pytest.mark.parametrize(
    ("padding", "strides", "dilation", "groups"),
    [((0, 0, 0, 0), (1, 1), (1, 1), 1), ((2, 0, 1, 0), (2, 3), (3, 1), 2)],
)
def test_images_of_one_column_keep_the_numbers(padding, strides, dilation, groups):
    x = RNG.integers(-9, 10, (2, 23, 1, 8)).astype("float32")
    w = RNG.integers(-9, 10, (12, 8 // groups, 5, 1)).astype("float32")
    options = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
    expected = references.conv2d(x, w.transpose(0, 2, 3, 1), **options)
    # Exact: sums of small integers.
    np.testing.assert_array_equal(run(lowered(x, w, **options), x), expected)


def test_a_tile_holds_pixels_of_one_column():
    x = np.zeros((1, 64, 1, 8), "float32")
    mod = lowered(x, np.zeros((32, 8, 5, 1), "float32"))
    (kernel,) = (f for f in mod.functions.values() if isinstance(f, tirx.PrimFunc))
    anchor = anchor_of(kernel)
    assert anchor.plan.tile.rows > 1
