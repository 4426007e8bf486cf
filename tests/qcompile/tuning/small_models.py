"""Models of one operator."""

from itertools import pairwise

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROWS, DEPTH, COLUMNS = 4, 32, 10


def product(folder, depths=(DEPTH,)):
    """Int8 products of a matrix with constant weights, one after the other, of these depths."""
    rng = np.random.default_rng(0)
    constants = {
        **{"w_scale": np.float32(0.05), "w_zero": np.int8(0)},
        **{"x_scale": np.float32(0.1), "zero": np.uint8(3), "y_scale": np.float32(2)},
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "x_scale", "zero"], ["q0"]),
        helper.make_node("DequantizeLinear", ["q0", "x_scale", "zero"], ["x0"]),
    ]
    for k, (depth, columns) in enumerate(pairwise([*depths, COLUMNS])):
        constants[f"w{k}"] = rng.integers(-127, 128, (depth, columns), "int8")
        last = "y" if k == len(depths) - 1 else f"x{k + 1}"
        nodes += [
            helper.make_node("DequantizeLinear", [f"w{k}", "w_scale", "w_zero"], [f"d{k}"]),
            helper.make_node("MatMul", [f"x{k}", f"d{k}"], [f"m{k}"], name=f"product{k}"),
            helper.make_node("QuantizeLinear", [f"m{k}", "y_scale", "zero"], [f"q{k + 1}"]),
            helper.make_node("DequantizeLinear", [f"q{k + 1}", "y_scale", "zero"], [last]),
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
