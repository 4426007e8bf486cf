"""A compiler for quantized neural networks: ONNX in, standalone edge libraries out."""

__version__ = "0.1.0"
