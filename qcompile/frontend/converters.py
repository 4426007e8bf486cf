"""The operators that the importer converts itself; all other standard ones are left to TVM's.

Keys are ONNX operator names, `domain::Op` outside of the standard domain.
"""

from qcompile.frontend import contractions, elementwise, layout, qdq
from qcompile.frontend.dynamic import dynamic_quantize_linear
from qcompile.frontend.node import Converter

MICROSOFT = "com.microsoft"

STANDARD: dict[str, Converter] = {
    "Clip": elementwise.clip,
    "Constant": elementwise.constant_node,
    "Conv": contractions.convolution,
    "ConvTranspose": contractions.transposed_convolution,
    "DequantizeLinear": qdq.dequantize_linear,
    "Dropout": elementwise.dropout,
    "DynamicQuantizeLinear": dynamic_quantize_linear,
    "Flatten": layout.flatten,
    "Gemm": contractions.gemm,
    "Identity": layout.identity,
    "MatMul": contractions.matmul,
    "QuantizeLinear": qdq.quantize_linear,
    "Reshape": layout.reshape,
    "Shape": elementwise.shape,
    "Size": elementwise.size,
    "Squeeze": layout.squeeze,
    "Transpose": layout.transpose,
    "Unsqueeze": layout.unsqueeze,
}

CONTRIBUTED: dict[str, Converter] = {
    f"{MICROSOFT}::DequantizeLinear": qdq.dequantize_linear,
    f"{MICROSOFT}::QuantizeLinear": qdq.quantize_linear,
}

CONVERTERS = STANDARD | CONTRIBUTED

# The contractions: each is bound to a variable of its node's name, which names a layer.
LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
