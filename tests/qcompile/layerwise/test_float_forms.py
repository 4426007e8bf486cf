"""What operators on codes round, against onnxruntime's operators on codes."""

import numpy as np
import pytest
from onnx import helper, numpy_helper

from qcompile.commands.reference import load_tensors
from qcompile.layerwise.float_forms import float_result
from tests.qcompile.layerwise.quantizers import OPSETS

pytest.importorskip("onnxruntime")
MICROSOFT = "com.microsoft"
RNG = np.random.default_rng(0)


def codes(*shape, dtype="uint8"):
    low = -128 if dtype == "int8" else 0
    return RNG.integers(low, low + 256, shape).astype(dtype)


def steps(scale, zero, dtype="uint8"):
    return np.float32(scale), np.array(zero, dtype)


IMAGE = codes(2, 3, 6, 5)
MATRIX = codes(4, 6)
OUT = steps(0.05, 120)
DATA = steps(0.01, 130)
BIAS = RNG.integers(-9999, 9999, 4).astype("int32")
BY_CHANNEL = (np.float32([0.01, 0.02, 0.015, 0.03]), np.zeros(4, "int8"))
FILTERS = codes(4, 3, 3, 3, dtype="int8")

OPERATORS = {
    "QLinearConv": (
        (IMAGE, *DATA, FILTERS, *BY_CHANNEL, *OUT, BIAS),
        {"domain": "", "pads": [1, 1, 0, 1], "strides": [2, 1]},
    ),
    "QLinearMatMul": (
        (MATRIX, *DATA, codes(6, 4, dtype="int8"), *steps(0.02, 0, "int8"), *OUT),
        {"domain": ""},
    ),
    "QGemm": (
        (MATRIX, *DATA, codes(4, 6, dtype="int8"), *BY_CHANNEL, BIAS, *OUT),
        {"transB": 1, "alpha": 0.5},
    ),
    "QLinearAdd": ((MATRIX, *DATA, codes(4, 6), *steps(0.03, 7), *OUT), {}),
    "QLinearMul": ((MATRIX, *DATA, codes(4, 6), *steps(0.03, 7), *OUT), {}),
    "QLinearConcat": ((*OUT, MATRIX, *DATA, codes(4, 2), *steps(0.03, 7)), {"axis": 1}),
    "QLinearWhere": (
        (RNG.random((4, 6)) < 0.5, MATRIX, *DATA, codes(4, 6), *steps(0.03, 7), *OUT),
        {},
    ),
    "QLinearAveragePool": ((IMAGE, *DATA, *OUT), {"kernel_shape": [2, 2], "pads": [1, 0, 0, 1]}),
    "QLinearGlobalAveragePool": ((IMAGE, *DATA, *steps(0.001, 120)), {"channels_last": 0}),
    "QLinearLeakyRelu": ((MATRIX, *DATA, *OUT), {"alpha": 0.1}),
    "QLinearSigmoid": ((MATRIX, *DATA, *steps(1 / 256, 0)), {}),
    "QLinearSoftmax": ((MATRIX, *DATA, *steps(1 / 256, 0)), {"axis": 1, "opset": 13}),
}


@pytest.mark.parametrize("operator", OPERATORS)
def test_rounds_to_the_codes(operator):
    inputs, attributes = OPERATORS[operator]
    known = {f"i{k}": np.asarray(array) for k, array in enumerate(inputs)}
    attributes = {"domain": MICROSOFT, **attributes}
    node = helper.make_node(operator, list(known), ["y"], **attributes)
    graph = helper.make_graph(
        [node],
        operator,
        [helper.make_tensor_value_info("unused", 1, [1])],
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(array, name) for name, array in known.items()],
    )
    model = helper.make_model(graph, opset_imports=OPSETS, ir_version=10)
    y = load_tensors(model, operator)({"unused": np.zeros(1, "float32")})["y"]

    real = float_result(node, known)
    low, high = np.iinfo(y.dtype).min, np.iinfo(y.dtype).max
    off = np.abs(np.clip(real, low, high) - y)
    # Half a step is what rounding takes; float32 adds a little where values lie at a tie.
    assert off.max() <= 0.5 + 1e-3
    assert len(np.unique(y)) > 5


def test_has_no_form_for_other_operators():
    node = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2])
    assert float_result(node, {"x": MATRIX}) is None
    node = helper.make_node("QLinearAveragePool", ["i0"] * 5, ["y"], channels_last=1)
    assert float_result(node, {"i0": MATRIX}) is None
