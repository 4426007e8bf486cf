"""The way of a module: plain lists of passes, in order."""

from collections.abc import Sequence

import tvm

from qcompile.ops import register_ops
from qcompile.passes.channels_last import ChannelsLast
from qcompile.passes.conv1d_as_conv2d import Conv1dAsConv2d
from qcompile.passes.dequantize_per_reader import DequantizePerReader
from qcompile.passes.fold_affine import FoldAffine
from qcompile.passes.fold_batch_norm import FoldBatchNorm
from qcompile.passes.hoist_quantize import HoistQuantize
from qcompile.passes.integer_bias import IntegerBias
from qcompile.passes.integer_conv2d import IntegerConv2d
from qcompile.passes.integer_matmul import IntegerMatmul
from qcompile.passes.integer_pool import IntegerPool
from qcompile.passes.own_quantize import OwnQuantize
from qcompile.passes.requantize import Requantize
from qcompile.passes.sink_dequantize import SinkDequantize
from qcompile.passes.tabulate import Tabulate
from qcompile.passes.unsigned_activations import UnsignedActivations

Pass = tvm.transform.Pass


def integer_form_passes() -> Sequence[Pass]:
    """From quantized form (or float) to integer form, whatever the target."""
    register_ops()
    return [
        OwnQuantize(),
        FoldBatchNorm(),
        Conv1dAsConv2d(),
        ChannelsLast(),
        UnsignedActivations(),
        SinkDequantize(),
        HoistQuantize(),
        IntegerConv2d(),
        IntegerMatmul(),
        IntegerPool(),
        IntegerBias(),
        FoldAffine(),
        Requantize(),
        Tabulate(),
        DequantizePerReader(),
    ]
