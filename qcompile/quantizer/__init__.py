"""Quantize float ONNX models after training, to any width from 1 to 8 bits for each layer."""

from qcompile.quantizer.bits import bits_of, read_bits
from qcompile.quantizer.options import QuantizeOptions, Widths
from qcompile.quantizer.quantize import QuantizedLayer, QuantizedNetwork, quantize_network
from qcompile.quantizer.simulate import simulate

__all__ = [
    "QuantizeOptions",
    "QuantizedLayer",
    "QuantizedNetwork",
    "Widths",
    "bits_of",
    "quantize_network",
    "read_bits",
    "simulate",
]
