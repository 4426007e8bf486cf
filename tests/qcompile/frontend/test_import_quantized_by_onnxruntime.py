"""What onnxruntime's own quantizer writes: static and dynamic, every format and width."""

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_models import agrees, model_of, operators
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

RNG = np.random.default_rng(0)
LAYERS = 4


def network():
    """Two convolutions with a residual, pooling, two dense layers."""

    def weights(*shape):
        return (RNG.normal(0, 1, shape) / np.sqrt(np.prod(shape[1:]))).astype("float32")

    constants = {"w1": weights(8, 3, 3, 3), "b1": weights(8, 1)[:, 0], "w2": weights(8, 8, 3, 3)}
    constants |= {"w3": weights(16, 8), "b3": weights(16, 1)[:, 0], "w4": weights(16, 4)}
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["a"], "conv1", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["r"], "relu"),
        helper.make_node("Conv", ["r", "w2"], ["c"], "conv2", pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c", "r"], ["s"], "add"),
        helper.make_node("MaxPool", ["s"], ["m"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["m"], ["g"], "mean"),
        helper.make_node("Flatten", ["g"], ["f"], "flat"),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["d"], "dense", transB=1),
        helper.make_node("Sigmoid", ["d"], ["e"], "gate"),
        helper.make_node("MatMul", ["e", "w4"], ["y"], "out"),
    ]
    shapes = {"x": ("FLOAT", ["N", 3, 8, 8])}
    return model_of(nodes, shapes, {"y": ("FLOAT", ["N", 4])}, constants, 21)


class Images(CalibrationDataReader):
    def __init__(self):
        rng = np.random.default_rng(1)
        self._left = [{"x": rng.normal(0, 1, (1, 3, 8, 8)).astype("float32")} for _ in range(4)]

    def get_next(self):
        return self._left.pop() if self._left else None


# Sums in another order flip codes at ties, worth up to this part of the output's range.
FLIPS = {"QInt16": 1e-3, "QUInt16": 1e-3, "QInt8": 0.03, "QUInt8": 0.03}


@pytest.mark.parametrize(
    ("format", "activations", "weights", "per_channel"),
    [
        ("QDQ", "QInt8", "QInt8", True),
        ("QDQ", "QUInt8", "QInt8", True),
        ("QDQ", "QUInt8", "QUInt8", False),
        ("QDQ", "QInt16", "QInt8", True),
        ("QDQ", "QUInt16", "QInt8", False),
        ("QDQ", "QUInt8", "QInt4", True),
        ("QOperator", "QUInt8", "QInt8", True),
        ("QOperator", "QInt8", "QInt8", False),
        ("QOperator", "QUInt8", "QUInt8", False),
    ],
)
def test_static(tmp_path, format, activations, weights, per_channel):
    source, target = tmp_path / "float.onnx", tmp_path / "quantized.onnx"
    onnx.save(network(), source)
    quantize_static(
        source,
        target,
        Images(),
        QuantFormat[format],
        per_channel=per_channel,
        activation_type=QuantType[activations],
        weight_type=QuantType[weights],
    )
    images = RNG.normal(0, 1, (2, 3, 8, 8)).astype("float32")
    imported = agrees(onnx.load(target), {"x": images}, batch=2, part=FLIPS[activations])
    assert len(imported.layers) == LAYERS
    assert "qcompile.dequantize" in operators(imported)


@pytest.mark.parametrize("weights", ["QInt8", "QUInt8"])
def test_dynamic(tmp_path, weights):
    source, target = tmp_path / "float.onnx", tmp_path / "quantized.onnx"
    onnx.save(network(), source)
    # onnxruntime has no ConvInteger of int8 weights on every processor.
    quantize_dynamic(
        source, target, op_types_to_quantize=["MatMul", "Gemm"], weight_type=QuantType[weights]
    )
    images = RNG.normal(0, 1, (2, 3, 8, 8)).astype("float32")
    imported = agrees(onnx.load(target), {"x": images}, batch=2, part=FLIPS["QUInt8"])
    assert operators(imported).count("qcompile.integer_matmul") == 2
    assert len(imported.layers) == LAYERS
