import numpy as np
import pytest
from tvm import relax
from tvm.relax.op import nn

from qcompile.passes.fold_pad import FoldPad
from tests.passes import references
from tests.passes.modules import assert_same, module, operators, run

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(-9, 9, (1, 2, 6, 5)).astype("float32")  # sums of small integers are exact
WEIGHTS = RNG.integers(-9, 9, (4, 2, 3, 3)).astype("float32")


def padded(widths, layout="NCHW", value=0.0, mode="constant", padding=(1, 0, 1, 2)):
    image = IMAGE if layout == "NCHW" else references.last(IMAGE)

    def body(emit, x):
        wide = emit(nn.pad(x, list(widths), pad_mode=mode, pad_value=value))
        attributes = {"strides": [2, 1], "padding": list(padding), "data_layout": layout}
        return nn.conv2d(wide, relax.const(WEIGHTS), **attributes)

    return module(body, (image.shape, "float32")), image


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_pads_join_the_convolution(layout):
    """Rows: 2 above and 1 below, columns: 3 on the right, besides the convolution's own."""
    rows_columns = (2, 1, 0, 3)
    around = (0, 0, 0, 0, *rows_columns) if layout == "NCHW" else (0, 0, *rows_columns, 0, 0)
    mod, image = padded(around, layout)
    mod = FoldPad()(mod)
    assert operators(mod) == ["conv2d"]
    expected = references.conv2d(
        references.last(IMAGE), WEIGHTS.transpose(0, 2, 3, 1), strides=(2, 1), padding=(3, 0, 2, 5)
    )
    found = run(mod, image)
    np.testing.assert_array_equal(found if layout == "NHWC" else references.last(found), expected)


NEAR_MISSES = {
    "ones": padded((0, 0, 0, 0, 1, 1, 1, 1), value=1.0),
    "reflected": padded((0, 0, 0, 0, 1, 1, 1, 1), mode="reflect"),
    "cropped": padded((0, 0, 0, 0, 1, 1, -1, 0)),
}


@pytest.mark.parametrize("case", NEAR_MISSES)
def test_leaves_alone(case):
    mod, _ = NEAR_MISSES[case]
    assert_same(FoldPad()(mod), mod)


def test_leaves_padded_channels_alone():
    def body(emit, x):
        wide = emit(nn.pad(x, [0, 0, 0, 1, 1, 1, 1, 1]))
        return nn.conv2d(wide, relax.const(np.ones((4, 3, 3, 3), "float32")))

    mod = module(body, (IMAGE.shape, "float32"))
    assert_same(FoldPad()(mod), mod)
