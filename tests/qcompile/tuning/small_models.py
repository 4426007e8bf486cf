"""Models of one operator."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROWS, DEPTH, COLUMNS = 4, 32, 10


def product(folder):
    """An int8 product of a matrix with constant weights."""
    weights = np.random.default_rng(0).integers(-127, 128, (DEPTH, COLUMNS), "int8")
    constants = {
        **{"w": weights, "w_scale": np.float32(0.05), "w_zero": np.int8(0)},
        **{"x_scale": np.float32(0.1), "zero": np.uint8(3), "y_scale": np.float32(2)},
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "x_scale", "zero"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "x_scale", "zero"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["wd"]),
        helper.make_node("MatMul", ["xd", "wd"], ["m"], name="product"),
        helper.make_node("QuantizeLinear", ["m", "y_scale", "zero"], ["yq"]),
        helper.make_node("DequantizeLinear", ["yq", "y_scale", "zero"], ["y"]),
    ]
    tensors = [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()]
    return _saved(folder / "product.onnx", nodes, tensors, COLUMNS)


def pooling_free(folder):
    """A model about which nothing can be decided."""
    return _saved(folder / "relu.onnx", [helper.make_node("Relu", ["x"], ["y"])], [], DEPTH)


def _saved(path, nodes, tensors, columns):
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [ROWS, size])
        for name, size in (("x", DEPTH), ("y", columns))
    ]
    graph = helper.make_graph(nodes, "network", ends[:1], ends[1:], tensors)
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path
