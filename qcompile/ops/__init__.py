"""Own Relax operators of the quantized and the integer form."""

from qcompile.ops.quantize import dequantize, quantize, register_quantize

__all__ = ["dequantize", "quantize", "register_ops"]


def register_ops() -> None:
    """Register all operators with TVM; calling it again is harmless."""
    register_quantize()
