"""Where the windows of a pooling operator lie."""

import numpy as np
import tvm

from qcompile.passes.rewriter import shape_of


def windows_meet_image(call: tvm.ir.Call) -> bool:
    """Whether every window of a max_pool2d holds a pixel, not only padding."""
    rows = str(call.attrs.layout).index("H")
    for i in (0, 1):
        extent, outputs = shape_of(call.args[0])[rows + i], shape_of(call)[rows + i]
        start = np.arange(outputs) * int(call.attrs.strides[i]) - int(call.attrs.padding[i])
        taps = np.arange(int(call.attrs.pool_size[i])) * int(call.attrs.dilation[i])
        positions = start[:, None] + taps
        if not ((positions >= 0) & (positions < extent)).any(axis=1).all():
            return False
    return True
