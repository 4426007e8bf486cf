"""ONNX models in, the quantized form in Relax out."""

from qcompile.frontend.imported import ImportedModel, TensorSpec, import_onnx

__all__ = ["ImportedModel", "TensorSpec", "import_onnx"]
