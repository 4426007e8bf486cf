"""Own Relax operators of the quantized and the integer form, each with its meaning as plain TE."""

from qcompile.ops.contractions import batch_matmul, conv2d, dense, register_contractions
from qcompile.ops.pool import register_pool, sum_pool2d
from qcompile.ops.quantize import dequantize, quantize, register_quantize
from qcompile.ops.requantize import add, multiply, register_requantize, requantize, table
from qcompile.ops.shift_add import register_shift_add, shift_add
from qcompile.ops.threshold import multi_threshold, register_threshold, threshold
from qcompile.schedules import register_scalars

__all__ = [
    "add",
    "batch_matmul",
    "conv2d",
    "dense",
    "dequantize",
    "multi_threshold",
    "multiply",
    "quantize",
    "register_ops",
    "requantize",
    "shift_add",
    "sum_pool2d",
    "table",
    "threshold",
]


def register_ops() -> None:
    """Register all operators, and what they compute with, with TVM; twice is harmless."""
    register_quantize()
    register_contractions()
    register_requantize()
    register_shift_add()
    register_pool()
    register_scalars()
    register_threshold()
