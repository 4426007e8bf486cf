"""A small float network, a small space, and made-up sensitivities."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from qcompile.quantizer import Widths
from qcompile.targets import load_target

LAYERS = ("first", "last")
SPACE = {
    "LOG_BLOCK": [3, 4],
    "LOG_INP_WIDTH": [2, 3],
    "LOG_WGT_WIDTH": [2, 3],
    "LOG_INP_BUFF_SIZE": [11],
    "LOG_WGT_BUFF_SIZE": [14],
    "LOG_ACC_BUFF_SIZE": [12],
    "SCALES": ["power-of-two-4"],
}


def board():
    return load_target("vta-ultra96")


def network(folder, seed=0):
    """A convolution, a pooling and a product; the file and calibration data."""
    rng = np.random.default_rng(seed)
    constants, nodes = [], []

    def constant(*shape):
        name = f"c{len(constants)}"
        scale = np.sqrt(2 / max(np.prod(shape[1:]), 8))
        array = (rng.normal(size=shape) * scale).astype("float32")
        constants.append(numpy_helper.from_array(array, name))
        return name

    def node(operator, *inputs, name="", **attributes):
        nodes.append(helper.make_node(operator, inputs, [f"v{len(nodes)}"], name, **attributes))
        return nodes[-1].output[0]

    x = node("Conv", "x", constant(32, 3, 3, 3), constant(32), name="first", pads=[1] * 4)
    x = node("MaxPool", node("Relu", x), kernel_shape=[2, 2], strides=[2, 2])
    x = node("Flatten", x)
    x = node("Gemm", x, constant(5, 32 * 4), constant(5), name="last", transB=1)
    shape = [1, 3, 4, 4]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, [1, 5])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = folder / "small.onnx"
    onnx.save(model, path)
    return path, {"x": rng.normal(size=(32, 3, 4, 4)).astype("float32")}


def choices(widths=((8, 8), (4, 4))):
    return {name: tuple(Widths(*each) for each in widths) for name in LAYERS}


def sensitivities(of):
    """Fewer bits, more of it; sums of these are exact."""
    return {
        name: {c: (k + 1) * (2.0**-c.weights + 2.0**-c.activations) for c in own}
        for k, (name, own) in enumerate(of.items())
    }
