"""The operators that the importer converts itself; all other standard ones are left to TVM's.

Keys are ONNX operator names, `domain::Op` outside of the standard domain.
"""

import onnx
from tvm import relax

from qcompile.errors import Unsupported
from qcompile.frontend import (
    contractions,
    contrib,
    elementwise,
    indexing,
    integer,
    layout,
    pools,
    qdq,
    qonnx,
    qonnx_thresholds,
    qonnx_trunc,
    qoperator,
    resize,
    standard,
)
from qcompile.frontend.dynamic import dynamic_quantize_linear
from qcompile.frontend.node import Converter
from qcompile.frontend.validate import STANDARD_DOMAINS, describe, subgraphs

MICROSOFT = "com.microsoft"

STANDARD: dict[str, Converter] = {
    "AveragePool": pools.average_pool,
    "BatchNormalization": standard.batch_normalization,
    "Cast": standard.cast,
    "Clip": elementwise.clip,
    "Concat": standard.concat,
    "Constant": elementwise.constant_node,
    "Conv": contractions.convolution,
    "ConvInteger": integer.conv_integer,
    "ConvTranspose": contractions.transposed_convolution,
    "DequantizeLinear": qdq.dequantize_linear,
    "Dropout": elementwise.dropout,
    "DynamicQuantizeLinear": dynamic_quantize_linear,
    "EyeLike": standard.eye_like,
    "Flatten": layout.flatten,
    "Gather": indexing.gather,
    "GatherElements": indexing.along_axis,
    "GatherND": indexing.by_coordinates,
    "Gemm": contractions.gemm,
    "Identity": layout.identity,
    "IsInf": standard.is_infinite,
    "LayerNormalization": standard.layer_normalization,
    "MatMul": contractions.matmul,
    "MatMulInteger": integer.matmul_integer,
    "MaxPool": pools.max_pool,
    "NonMaxSuppression": standard.data_dependent,
    "OneHot": standard.one_hot,
    "Pad": standard.pad,
    "Pow": standard.power,
    "QLinearConv": qoperator.convolution,
    "QLinearMatMul": qoperator.matmul,
    "QuantizeLinear": qdq.quantize_linear,
    "RMSNormalization": standard.rms_normalization,
    "Range": standard.data_dependent,
    "ReduceMax": standard.extreme,
    "ReduceMin": standard.extreme,
    "Reshape": layout.reshape,
    "Resize": resize.resize,
    "RoiAlign": standard.roi_align,
    "Scatter": indexing.along_axis,
    "ScatterElements": indexing.along_axis,
    "ScatterND": indexing.by_coordinates,
    "Shape": elementwise.shape,
    "Size": elementwise.size,
    "Slice": standard.cut,
    "SpaceToDepth": standard.space_to_depth,
    "Squeeze": layout.squeeze,
    "Transpose": layout.transpose,
    "Unsqueeze": layout.unsqueeze,
    "Upsample": resize.upsample,
}

CONTRIBUTED: dict[str, Converter] = {
    "Attention": contrib.attention,
    "BiasGelu": contrib.gelu,
    "DequantizeLinear": qdq.dequantize_linear,
    "DynamicQuantizeMatMul": integer.dynamic_quantize_matmul,
    "FastGelu": contrib.fast_gelu,
    "FusedConv": contrib.fused_conv,
    "FusedGemm": contrib.fused_gemm,
    "FusedMatMul": contrib.fused_matmul,
    "Gelu": contrib.gelu,
    "MatMulIntegerToFloat": integer.matmul_integer_to_float,
    "MatMulNBits": contrib.matmul_n_bits,
    "QGemm": qoperator.gemm,
    "QLinearAdd": qoperator.binary(relax.op.add),
    "QLinearAveragePool": qoperator.average_pool,
    "QLinearConcat": qoperator.concat,
    "QLinearGlobalAveragePool": qoperator.global_average_pool,
    "QLinearLeakyRelu": qoperator.leaky_relu,
    "QLinearMul": qoperator.binary(relax.op.multiply),
    "QLinearReduceMean": qoperator.reduce_mean,
    "QLinearSigmoid": qoperator.sigmoid,
    "QLinearSoftmax": qoperator.softmax,
    "QLinearWhere": qoperator.where,
    "QuantizeLinear": qdq.quantize_linear,
    "QuickGelu": contrib.quick_gelu,
    "SkipLayerNormalization": contrib.skip_layer_normalization,
}

QONNX: dict[str, Converter] = {
    "BipolarQuant": qonnx.bipolar_quant,
    "IntQuant": qonnx.quant,
    "MultiThreshold": qonnx_thresholds.multi_threshold,
    "Quant": qonnx.quant,
    "Trunc": qonnx_trunc.trunc,
}
QONNX_DOMAINS = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")

CONVERTERS = (
    STANDARD
    | {f"{MICROSOFT}::{name}": each for name, each in CONTRIBUTED.items()}
    | {f"{domain}::{name}": each for domain in QONNX_DOMAINS for name, each in QONNX.items()}
)

# The contractions: each is bound to a variable of its node's name, which names a layer.
STANDARD_LAYERS = (
    "Conv ConvInteger ConvTranspose Gemm MatMul MatMulInteger QLinearConv QLinearMatMul"
)
CONTRIBUTED_LAYERS = (
    "DynamicQuantizeMatMul FusedConv FusedGemm FusedMatMul MatMulIntegerToFloat MatMulNBits QGemm"
)
LAYERS = frozenset(STANDARD_LAYERS.split()) | {
    f"{MICROSOFT}::{name}" for name in CONTRIBUTED_LAYERS.split()
}


def check_known(graph: onnx.GraphProto) -> None:
    """Raises Unsupported for the first operator of another domain that has no converter."""
    for node in graph.node:
        operator = f"{node.domain}::{node.op_type}"
        if node.domain not in STANDARD_DOMAINS and operator not in CONVERTERS:
            raise Unsupported(f"{describe(node)}: {_advice(node)}")
        for inner in subgraphs(node):
            check_known(inner)


def _advice(node: onnx.NodeProto) -> str:
    """What would work instead of an unknown operator."""
    prefix = f"{node.domain}::"
    known = [each.removeprefix(prefix) for each in CONVERTERS if each.startswith(prefix)]
    return f"of this domain {', '.join(known)} work" if known else "the domain is unknown"
